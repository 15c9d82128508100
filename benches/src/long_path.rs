//! A path with a long round trip, without a network: a device that sends every packet back, from where it was to go, after a delay. What
//! connects to [`FAR`] arrives at [`NEAR`] over that path. Needs root, iproute2 and socat.

use std::io;
use std::net::{Ipv4Addr, Shutdown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{park_timeout, sleep, spawn};
use std::time::{Duration, Instant};

/// Where a server listens: of the addresses for benchmarks (RFC 2544, appendix C.2.2).
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 213, 1);

/// Where a client finds it.
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 213, 2);

const DEVICE: &str = "oca-long0";

/// As Ethernet's jumbo frames: fewer packets for the same bytes.
const MTU: usize = 9000;

/// Gone when dropped.
pub(crate) struct LongPath {
    device: Child,
    packets: UnixDatagram,
}

impl LongPath {
    /// A round trip takes `round_trip` at least. `folder` gets two sockets. `inside` are the words before a command that has to run in
    /// another network namespace than this process.
    ///
    /// # Errors
    /// Not root; `ip` (Debian's iproute2) or socat is missing.
    pub(crate) fn make(inside: &[&str], folder: &Path, round_trip: Duration) -> io::Result<Self> {
        let (mirror, device) = (folder.join("mirror"), folder.join("device"));
        let packets = UnixDatagram::bind(&mirror)?;
        let tunnel = format!("TUN:{NEAR}/24,tun-name={DEVICE},iff-no-pi,iff-up");
        let socket = format!("UNIX-SENDTO:{},bind={}", mirror.display(), device.display());
        let socat = ["socat", "-b", "65536", &tunnel, &socket];
        let mut path = Self {
            device: command(inside, &socat).stdin(Stdio::null()).spawn()?,
            packets,
        };
        path.await_device(&device)?;
        let queue = format!("ip link set {DEVICE} mtu {MTU} txqueuelen 10000");
        let queue: Vec<&str> = queue.split(' ').collect();
        if !command(inside, &queue).status()?.success() {
            return Err(io::Error::other(queue.join(" ")));
        }
        mirror_packets(&path.packets, round_trip / 2)?;
        Ok(path)
    }

    /// socat binds its socket last.
    fn await_device(&mut self, socket: &Path) -> io::Result<()> {
        while self.packets.connect(socket).is_err() {
            if let Some(ended) = self.device.try_wait()? {
                return Err(io::Error::other(format!("socat: {ended}")));
            }
            park_timeout(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for LongPath {
    fn drop(&mut self) {
        // Ends the threads.
        let _ = self.packets.shutdown(Shutdown::Both);
        // The device goes with it.
        let _ = self.device.kill();
        let _ = self.device.wait();
    }
}

fn command(inside: &[&str], words: &[&str]) -> Command {
    let mut words = inside.iter().chain(words);
    let mut command = Command::new(words.next().unwrap_or(&""));
    command.args(words);
    command
}

/// Sends back what comes, until the socket is shut down. Each packet goes one way in `delay`.
fn mirror_packets(packets: &UnixDatagram, delay: Duration) -> io::Result<()> {
    let (incoming, outgoing) = (packets.try_clone()?, packets.try_clone()?);
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    spawn(move || {
        let mut packet = [0; MTU];
        while let Ok(length @ 1..) = incoming.recv(&mut packet) {
            let mut packet = packet[..length].to_vec();
            if swap_addresses(&mut packet) && sender.send((Instant::now(), packet)).is_err() {
                return;
            }
        }
    });
    spawn(move || {
        for (came, packet) in receiver {
            sleep((came + delay).saturating_duration_since(Instant::now()));
            if outgoing.send(&packet).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// From its receiver to its sender; whether it is IPv4 (RFC 791, section 3.1). The checksums are sums, in which the order does not matter.
fn swap_addresses(packet: &mut [u8]) -> bool {
    if packet.len() < 20 || packet[0] >> 4 != 4 {
        return false;
    }
    let (before, receiver) = packet.split_at_mut(16);
    before[12..].swap_with_slice(&mut receiver[..4]);
    true
}
