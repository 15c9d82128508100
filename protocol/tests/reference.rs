//! `docs/configuration.md` and the man page `oca.toml(5)` list every key of the configuration in the words of its type. After a change of
//! these: `OCA_WRITE_DOCS=1 cargo test -p protocol --test reference`.

#[path = "support/keys.rs"]
mod keys;

use keys::{Key, Reference, keys};

const SOURCES: [&str; 4] = [
    include_str!("../src/config.rs"),
    include_str!("../src/config/section.rs"),
    include_str!("../src/config/tls.rs"),
    include_str!("../src/config/bgp.rs"),
];
const WRITTEN: &str = include_str!("../src/config/file.rs");

/// The type of each section, and how the file names it.
const SECTIONS: [(&str, &str); 16] = [
    ("Appliance", "[appliance]"),
    ("Listen", "[listen]"),
    ("Tls", "[tls]"),
    (
        "Certificate",
        "each of tls.certificates, and control.client",
    ),
    ("Workers", "[workers]"),
    ("Tier", "[[tier]]"),
    ("Serve", "[serve]"),
    ("Pacing", "serve.pacing"),
    ("Log", "[log]"),
    ("AccessLog", "log.access"),
    ("Control", "[control]"),
    ("Fill", "[fill]"),
    ("Scrub", "[scrub]"),
    ("Steering", "[steering]"),
    ("Bgp", "[bgp]"),
    ("Neighbor", "[[bgp.neighbor]]"),
];

const BEFORE: &str = r#".TH oca.toml 5
.SH NAME
oca.toml \- configuration of an open cache appliance
.SH DESCRIPTION
The one file that
.BR oca\-daemon (1),
.BR oca\-fill\-agent (1)
and
.BR ocactl (1)
read, in TOML 1.0. An unknown key is an error; values with units are texts.
.B ocactl check
says what is wrong with a file, with line and key. Where a change takes a restart, a reload says so in the log, and the old value stays in
force.
.SH KEYS
"#;

const AFTER: &str = r#".SH EXAMPLE
The least of a file that serves:
.PP
.nf
[appliance]
id = "c001.fra001.example"
[listen]
http = ["0.0.0.0:80", "[::]:80"]
[[tier]]
name = "nvme"
role = "hot"
devices = ["/srv/oca/nvme0", "/srv/oca/nvme1"]
.fi
.SH FILES
.I /etc/oca/oca.toml
.SH SEE ALSO
.BR oca\-daemon (1),
.BR oca\-fill\-agent (1),
.BR ocactl (1)
"#;

#[test]
fn every_key_is_in_the_documentation_in_its_own_words() {
    let reference = Reference {
        sources: &SOURCES,
        sections: &SECTIONS,
        page: "configuration.md",
        chapter: "All keys",
        manual: "man/oca.toml.5",
        before: BEFORE,
        after: AFTER,
    };
    reference.hold("cargo test -p protocol --test reference");
}

#[test]
fn the_example_of_the_man_page_is_right() {
    let (_, example) = AFTER.split_once(".nf\n").expect("an example");
    let (example, _) = example.split_once(".fi\n").expect("its end");
    let name = std::path::Path::new("oca.toml");
    protocol::config::parse(example, name, &protocol::paths::LINUX).expect("it is right");
}

#[test]
fn no_section_and_no_key_is_forgotten() {
    let sections: usize = SOURCES[1..]
        .iter()
        .map(|source| source.matches("deny_unknown_fields").count())
        .sum();
    // [appliance] and [[tier]] are those of `Config`, where what is typed has its meaning.
    assert_eq!(sections + 2, SECTIONS.len());
    for (typed, meant) in [("WrittenAppliance", "Appliance"), ("WrittenTier", "Tier")] {
        let names = |keys: Vec<Key<'_>>| keys.iter().map(|key| key.name.to_owned()).collect();
        let typed: Vec<String> = names(keys(&[WRITTEN], typed));
        let meant: Vec<String> = names(keys(&SOURCES, meant));
        assert_eq!(typed, meant);
    }
}
