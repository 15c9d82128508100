//! `docs/control.md` and the man page `oca-control.toml(5)` list every key of the file in the words of its type. After a change of these:
//! `OCA_WRITE_DOCS=1 cargo test -p control-endpoint --test reference`.

#[path = "../../protocol/tests/support/keys.rs"]
mod keys;

use keys::Reference;

const SOURCES: [&str; 2] = [
    include_str!("../src/config.rs"),
    include_str!("../src/config/viewers.rs"),
];

/// The type of each section, and how the file names it.
const SECTIONS: [(&str, &str); 9] = [
    ("Written", "before all sections"),
    ("Tls", "[tls]"),
    ("SiteTerms", "[[site]]"),
    ("Terms", "[steering]"),
    ("Operator", "[[operator]]"),
    ("ViewersAt", "[[place]]"),
    ("FurtherCopies", "[copies]"),
    ("Http", "[[origin]] with kind = \"http\""),
    ("S3", "[[origin]] with kind = \"s3\""),
];

const BEFORE: &str = r#".TH oca\-control.toml 5
.SH NAME
oca\-control.toml \- configuration of the control endpoint of open cache appliances
.SH DESCRIPTION
The file that
.BR oca\-control (1)
reads, in TOML 1.0. An unknown key is an error; values with units are texts.
.SH KEYS
"#;

const AFTER: &str = r".SH FILES
.I /etc/oca/oca\-control.toml
.SH SEE ALSO
.BR oca\-control (1),
.BR oca.toml (5)
";

#[test]
fn every_key_is_in_the_documentation_in_its_own_words() {
    let reference = Reference {
        sources: &SOURCES,
        sections: &SECTIONS,
        page: "control.md",
        chapter: "All keys",
        manual: "man/oca-control.toml.5",
        before: BEFORE,
        after: AFTER,
    };
    reference.hold("cargo test -p control-endpoint --test reference");
}

#[test]
fn no_section_is_forgotten() {
    let refusing = SOURCES.map(|source| source.matches("deny_unknown_fields").count());
    // Both kinds of origins are variants of one type.
    assert_eq!(refusing.iter().sum::<usize>() + 1, SECTIONS.len());
}
