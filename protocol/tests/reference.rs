//! `docs/configuration.md` lists every key of the configuration in the words of its type. After a change of these:
//! `OCA_WRITE_DOCS=1 cargo test -p protocol --test reference`.

use std::fmt::Write;
use std::path::Path;

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

/// A key: its name, its type in Rust, what is said of it.
struct Key<'a> {
    name: &'a str,
    of: &'a str,
    words: String,
}

/// The fields of a structure, in the order of the source.
fn keys<'a>(sources: &[&'a str], of: &str) -> Vec<Key<'a>> {
    let head = format!("struct {of} {{\n");
    let body = sources
        .iter()
        .find_map(|source| source.split_once(&head))
        .map(|(_, rest)| rest.split_once("\n}").map_or(rest, |(body, _)| body));
    let mut words: Vec<&str> = Vec::new();
    let mut keys = Vec::new();
    for line in body.unwrap_or_else(|| panic!("no struct {of}")).lines() {
        let line = line.trim();
        if let Some(said) = line.strip_prefix("///") {
            words.push(said.trim());
        } else if let Some((name, of)) = line.strip_suffix(',').and_then(|it| it.split_once(": ")) {
            keys.push(Key {
                name: name.rsplit(' ').next().unwrap_or(name),
                of,
                words: words.join(" "),
            });
            words.clear();
        }
    }
    keys
}

/// What is typed for a type.
fn kind(of: &str) -> String {
    let within = |outer: &str| of.strip_prefix(outer)?.strip_prefix('<')?.strip_suffix('>');
    if let Some(one) = within("Option") {
        return kind(one);
    }
    if let Some(one) = within("Vec") {
        return format!("list of {}", kind(one));
    }
    if let Some(one) = within("Auto") {
        return format!("`\"auto\"` or {}", kind(one));
    }
    match of {
        "SocketAddr" => "address and port",
        "IpAddr" => "address",
        "Ipv4Addr" => "IPv4 address",
        "Prefix" => "prefix, as in `\"192.0.2.0/24\"`",
        "u8" | "u16" | "u32" => "number",
        "bool" => "`true` or `false`",
        "String" => "text",
        "PathBuf" => "path",
        "ByteSize" => "bytes, as in `\"256 MiB\"`",
        "BitRate" => "rate, as in `\"1.2 Gbit/s\"`",
        "Interval" => "time, as in `\"30 s\"`",
        "Percent" => "share, as in `\"10 %\"`",
        "OnMiss" => "`\"404\"` or `{ redirect = \"..\" }`",
        "Backend" => "`\"uring\"`, `\"epoll\"`, `\"kqueue\"`",
        "TierRole" => "`\"hot\"` or `\"capacity\"`",
        "Addresses" => "`\"truncated\"` or `\"full\"`",
        "TlsVersion" => "`\"1.2\"` or `\"1.3\"`",
        "KernelTls" => "`\"auto\"`, `\"on\"`, `\"off\"`",
        "Suite" => "names of suites",
        "NeighborRole" => "`\"listen\"` or `\"announce\"`",
        "Pacing" | "AccessLog" | "Certificate" | "Neighbor" => "table, see below",
        other => panic!("what is typed for {other}? Say it here"),
    }
    .to_owned()
}

fn tables() -> String {
    let mut text = String::new();
    for (of, section) in SECTIONS {
        let _ = write!(
            text,
            "\n### `{section}`\n\n| key | | what |\n|---|---|---|\n"
        );
        for key in keys(&SOURCES, of) {
            assert!(!key.words.is_empty(), "{of}.{} has no words", key.name);
            let words = key.words.replace("[`", "`").replace("`]", "`");
            let _ = writeln!(text, "| `{}` | {} | {words} |", key.name, kind(key.of));
        }
    }
    text
}

#[test]
fn every_key_is_in_the_documentation_in_its_own_words() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let (before, written) = page.split_once("\n## All keys\n").expect("a chapter");
    let (introduction, _) = written.split_once("\n### ").unwrap_or((written, ""));
    let expected = format!("{before}\n## All keys\n{introduction}{}", tables());
    if std::env::var_os("OCA_WRITE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("written");
        return;
    }
    assert!(
        page == expected,
        "docs/configuration.md is not as the types say: OCA_WRITE_DOCS=1 cargo test -p protocol --test reference"
    );
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
