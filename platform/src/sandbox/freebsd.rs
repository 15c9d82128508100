//! FreeBSD has no Landlock, and capsicum(4) takes all paths from a process that opens some while it runs.

use super::{Rules, Sandbox};

pub(super) fn enforce(_: &Rules) -> Sandbox {
    Sandbox {
        enforced: false,
        detail: "FreeBSD has no Landlock; a jail keeps the daemon to its files".to_owned(),
        no_new_privileges: false,
    }
}
