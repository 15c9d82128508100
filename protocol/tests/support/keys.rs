//! Keys of a configuration file in the words of the types that read them, as they are written in the sources: for a page of the
//! documentation (Markdown) and for a man page (`man(7)`).

use std::fmt::Write;
use std::path::Path;

/// A file and how its page is made.
pub(crate) struct Reference<'a> {
    /// The sources of its types.
    pub(crate) sources: &'a [&'a str],
    /// The type of each section, and how the file names it.
    pub(crate) sections: &'a [(&'a str, &'a str)],
    /// The page of the documentation, and its chapter that is made here.
    pub(crate) page: &'a str,
    pub(crate) chapter: &'a str,
    /// The man page.
    pub(crate) manual: &'a str,
    /// What stands in the manual before and after the keys.
    pub(crate) before: &'a str,
    pub(crate) after: &'a str,
}

/// A key: its name, its type in Rust, what is said of it.
pub(crate) struct Key<'a> {
    pub(crate) name: &'a str,
    of: &'a str,
    words: String,
}

/// The fields of a structure, or of a variant that has some, in the order of the source.
pub(crate) fn keys<'a>(sources: &[&'a str], of: &str) -> Vec<Key<'a>> {
    let head = format!(" {of} {{\n");
    let body = sources
        .iter()
        .find_map(|source| source.split_once(&head))
        .unwrap_or_else(|| panic!("no {of} with fields"))
        .1;
    let mut words: Vec<&str> = Vec::new();
    let mut renamed = None;
    let mut keys = Vec::new();
    for line in body.lines().map(str::trim) {
        if matches!(line, "}" | "},") {
            break;
        }
        if let Some(said) = line.strip_prefix("///") {
            words.push(said.trim());
        } else if line.starts_with("#[") {
            renamed = line
                .split_once("rename = \"")
                .and_then(|(_, name)| name.split('"').next());
        } else if let Some((name, of)) = line.strip_suffix(',').and_then(|it| it.split_once(": ")) {
            let field = name.rsplit(' ').next().unwrap_or(name);
            keys.push(Key {
                name: renamed.take().unwrap_or(field),
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
        "Prefix" | "PrefixText" => "prefix, as in `\"192.0.2.0/24\"`",
        "u8" | "u16" | "u32" => "number",
        "bool" => "`true` or `false`",
        "String" => "text",
        "PathBuf" => "path",
        "ByteSize" => "bytes, as in `\"256 MiB\"`",
        "BitRate" => "rate, as in `\"1.2 Gbit/s\"`",
        "Interval" => "time, as in `\"30 s\"`",
        "Percent" => "share, as in `\"10 %\"`",
        "Location" => "place, as in `[50.1, 8.7]`",
        "OnMiss" => "`\"404\"` or `{ redirect = \"..\" }`",
        "Backend" => "`\"uring\"`, `\"epoll\"`, `\"kqueue\"`",
        "TierRole" => "`\"hot\"` or `\"capacity\"`",
        "Addresses" => "`\"truncated\"` or `\"full\"`",
        "TlsVersion" => "`\"1.2\"` or `\"1.3\"`",
        "KernelTls" => "`\"auto\"`, `\"on\"`, `\"off\"`",
        "Suite" => "names of suites",
        "NeighborRole" => "`\"listen\"` or `\"announce\"`",
        "Pacing" | "AccessLog" | "Certificate" | "Neighbor" | "Tls" | "SiteTerms"
        | "FurtherCopies" | "Origin" | "Terms" | "Operator" | "ViewersAt" => "table, see below",
        other => panic!("what is typed for {other}? Say it here"),
    }
    .to_owned()
}

impl Reference<'_> {
    /// Each section with its keys.
    fn sections(&self) -> impl Iterator<Item = (&str, Vec<Key<'_>>)> {
        self.sections.iter().map(|(of, section)| {
            let mut keys = keys(self.sources, of);
            for key in &mut keys {
                assert!(!key.words.is_empty(), "{of}.{} has no words", key.name);
                key.words = key.words.replace("[`", "`").replace("`]", "`");
            }
            (*section, keys)
        })
    }

    fn tables(&self) -> String {
        let mut text = String::new();
        for (section, keys) in self.sections() {
            let _ = write!(
                text,
                "\n### `{section}`\n\n| key | | what |\n|---|---|---|\n"
            );
            for key in keys {
                let _ = writeln!(
                    text,
                    "| `{}` | {} | {} |",
                    key.name,
                    kind(key.of),
                    key.words
                );
            }
        }
        text
    }

    fn manual(&self) -> String {
        let mut text = format!(
            ".\\\" Made from the sources; see the test that says so.\n{}",
            self.before
        );
        for (section, keys) in self.sections() {
            let _ = writeln!(text, ".SS {}", roff(section));
            for key in keys {
                let _ = writeln!(
                    text,
                    ".TP\n\\fB{}\\fR: {}",
                    roff(key.name),
                    roff(&kind(key.of))
                );
                let _ = writeln!(text, "{}", roff(&key.words));
            }
        }
        text + self.after
    }

    /// Fails if a page is not as the sources say; with `OCA_WRITE_DOCS` in the environment, writes it.
    pub(crate) fn hold(&self, how: &str) {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let page = std::fs::read_to_string(docs.join(self.page)).expect("the page");
        let chapter = format!("\n## {}\n", self.chapter);
        let (before, written) = page.split_once(&chapter).expect("a chapter");
        let (introduction, _) = written.split_once("\n### ").unwrap_or((written, ""));
        let page = format!("{before}{chapter}{introduction}{}", self.tables());
        for (name, expected) in [(self.page, page), (self.manual, self.manual())] {
            let path = docs.join(name);
            if std::env::var_os("OCA_WRITE_DOCS").is_some() {
                std::fs::write(&path, &expected).expect("written");
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == expected,
                "docs/{name} is not as the types say: OCA_WRITE_DOCS=1 {how}"
            );
        }
    }
}

/// Words with their code in bold, and with nothing in them that `troff` would obey.
fn roff(words: &str) -> String {
    let mut text = String::new();
    if words.starts_with(['.', '\'']) {
        text.push_str("\\&");
    }
    for (at, part) in words.split('`').enumerate() {
        let part = part.replace('\\', "\\e").replace('-', "\\-");
        let _ = match at % 2 {
            0 => write!(text, "{part}"),
            _ => write!(text, "\\fB{part}\\fR"),
        };
    }
    text
}
