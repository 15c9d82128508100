/* What this crate and the crate libc say of FreeBSD, compared with its own headers by a compiler: scripts/freebsd-check.sh. */

#include <sys/types.h>
#include <sys/event.h>
#include <sys/filio.h>
#include <sys/ktls.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/sysctl.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <crypto/cryptodev.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>

#define IS(what, value) _Static_assert((what) == (value), #what)

/* kernel_tls/freebsd.rs */
IS(TCP_TXTLS_ENABLE, 39);
IS(TLS_SET_RECORD_TYPE, 1);
IS(CRYPTO_AES_NIST_GCM_16, 25);
IS(CRYPTO_CHACHA20_POLY1305, 41);
IS(sizeof(struct tls_enable), 64);
IS(offsetof(struct tls_enable, cipher_key), 0);
IS(offsetof(struct tls_enable, iv), 8);
IS(offsetof(struct tls_enable, auth_key), 16);
IS(offsetof(struct tls_enable, cipher_algorithm), 24);
IS(offsetof(struct tls_enable, cipher_key_len), 28);
IS(offsetof(struct tls_enable, iv_len), 32);
IS(offsetof(struct tls_enable, auth_algorithm), 36);
IS(offsetof(struct tls_enable, auth_key_len), 40);
IS(offsetof(struct tls_enable, flags), 44);
IS(offsetof(struct tls_enable, tls_vmajor), 48);
IS(offsetof(struct tls_enable, tls_vminor), 49);
IS(offsetof(struct tls_enable, rec_seq), 50);
/* kernel_tls.rs: a control message of one byte */
IS(CMSG_LEN(1), 17);
IS(CMSG_SPACE(1), 24);

/* process/freebsd.rs, interface/freebsd.rs, socket/freebsd.rs */
IS(KERN_PROC_NFDS, 43);
IS(LINK_STATE_DOWN, 1);
IS(SO_MAX_PACING_RATE, 0x1018);

/* reactor/readiness/kqueue/fake.rs */
IS(EVFILT_READ, -1);
IS(EVFILT_WRITE, -2);
IS(EVFILT_USER, -11);
IS(EV_ADD, 0x1);
IS(EV_CLEAR, 0x20);
IS(EV_EOF, 0x8000);
IS(EV_ERROR, 0x4000);
IS(NOTE_TRIGGER, 0x01000000);

/* Of the crate libc; the files that use them assert the same of its side. */
IS(sizeof(struct kevent), 64);
IS(offsetof(struct kevent, filter), 8);
IS(offsetof(struct kevent, flags), 10);
IS(offsetof(struct kevent, fflags), 12);
IS(offsetof(struct kevent, data), 16);
IS(offsetof(struct kevent, udata), 24);
IS(offsetof(struct kevent, ext), 32);
IS(sizeof(struct sf_hdtr), 32);
IS(offsetof(struct sf_hdtr, hdr_cnt), 8);
IS(SF_NODISKIO, 1);
IS(sizeof(struct kinfo_proc), 1088);
IS(offsetof(struct kinfo_proc, ki_rssize), 264);
IS(sizeof(struct if_data), 152);
IS(offsetof(struct if_data, ifi_link_state), 4);
IS(offsetof(struct if_data, ifi_baudrate), 16);
IS(offsetof(struct if_data, ifi_ipackets), 24);
IS(offsetof(struct statfs, f_fstypename), 280);
