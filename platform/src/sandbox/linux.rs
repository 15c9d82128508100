//! Linux words for it: the three calls of Landlock, since 5.13, behind the crate `landlock`, which leaves out what a kernel does not know.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus,
    make_bitflags,
};

use super::{Rules, Sandbox, existing};

/// What is asked for: all kinds of access to files that this one knows, Linux 6.10. A newer one would also judge sockets by their paths.
const ASKED: ABI = ABI::V5;

pub(super) fn enforce(rules: &Rules) -> Sandbox {
    match restrict(rules) {
        Ok(status) => Sandbox {
            enforced: status.ruleset != RulesetStatus::NotEnforced,
            detail: detail(&status),
            no_new_privileges: status.no_new_privs,
        },
        Err(error) => Sandbox {
            enforced: false,
            detail: format!("the kernel refuses Landlock: {error}"),
            no_new_privileges: false,
        },
    }
}

fn restrict(rules: &Rules) -> Result<RestrictionStatus, RulesetError> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let special = make_bitflags!(AccessFs::{Execute | MakeChar | MakeBlock | MakeFifo | MakeSym});
    let write = AccessFs::from_all(ASKED) & !(special | AccessFs::IoctlDev);
    let file = make_bitflags!(AccessFs::{ReadFile | WriteFile});
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ASKED))?
        .create()?;
    let ruleset = allow(ruleset, &rules.read, read)?;
    let ruleset = allow(ruleset, &rules.write, write)?;
    allow(ruleset, &rules.files, file)?.restrict_self()
}

/// Of what is not there, the folder above it counts: it may come.
fn allow(
    mut ruleset: RulesetCreated,
    paths: &[PathBuf],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    for path in paths {
        // One that goes away in this moment is left out, and cannot be reached.
        if let Ok(path) = PathFd::new(existing(path)) {
            ruleset = ruleset.add_rule(PathBeneath::new(path, access))?;
        }
    }
    Ok(ruleset)
}

fn detail(status: &RestrictionStatus) -> String {
    let text = match (&status.ruleset, &status.landlock) {
        (RulesetStatus::FullyEnforced, _) => "",
        (RulesetStatus::PartiallyEnforced, _) => {
            "this kernel knows an older Landlock, and lets through some of what newer ones hold"
        }
        (_, LandlockStatus::NotImplemented) => "this kernel has no Landlock, or forbids its calls",
        (_, _) => "Landlock is off in this kernel: add landlock to lsm= on its command line",
    };
    text.to_owned()
}
