//! What a program asks of the kernel, as `strace` writes it down with all bytes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// All that changes a file system, and what is needed to know which file is meant.
const RECORDED: &str = "trace=openat,close,lseek,write,pwrite64,writev,pwritev,ftruncate,fallocate,fsync,fdatasync,\
    rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,copy_file_range,sync_file_range";

/// Longest string that is kept: more than any write of the store.
const STRING_BYTES: &str = "8388608";

/// One call that did not fail.
#[derive(Debug)]
pub struct Call {
    pub thread: u32,
    pub name: String,
    pub arguments: Vec<String>,
    pub result: i64,
}

/// Runs a command and gives its calls in their order.
pub fn record(command: &mut Command, file: &Path) -> Vec<Call> {
    let calls = traced(command, &["-xx", "-s", STRING_BYTES, "-e", RECORDED], file);
    calls.into_iter().filter(|call| call.result >= 0).collect()
}

/// Runs a command and gives the named calls that it makes, failed ones too.
pub fn count(command: &mut Command, names: &[&str], file: &Path) -> Vec<Call> {
    let names = format!("trace={}", names.join(","));
    traced(command, &["-xx", "-s", "4096", "-e", &names], file)
}

fn traced(command: &mut Command, options: &[&str], file: &Path) -> Vec<Call> {
    let output = strace(command, options, file)
        .output()
        .expect("strace is installed");
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::remove_file(file).unwrap();
    parse(&text)
}

/// The command under `strace`.
pub fn strace(command: &Command, options: &[&str], file: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "--seccomp-bpf", "-qq"])
        .args(options)
        .arg("-o")
        .arg(file);
    strace.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        strace.env(name, value.unwrap_or_default());
    }
    strace
}

/// Joins what is written in two parts when two threads are in a call at once.
fn parse(text: &str) -> Vec<Call> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, start);
        } else if rest.starts_with("<... ") {
            let start = begun.remove(thread).expect("it was begun before");
            let (_, end) = rest.split_once(" resumed>").unwrap();
            calls.extend(parse_call(thread, &format!("{start}{end}")));
        } else {
            calls.extend(parse_call(thread, rest));
        }
    }
    calls
}

/// `name(a, b) = result`; nothing for a signal, or for a call that never came back.
fn parse_call(thread: &str, text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let result = result.split_whitespace().next()?;
    Some(Call {
        thread: thread.parse().unwrap(),
        name: name.into(),
        arguments: arguments.split(", ").map(Into::into).collect(),
        result: result.parse().ok()?,
    })
}

impl Call {
    /// An argument that is a number.
    pub fn number(&self, index: usize) -> i64 {
        self.arguments[index].parse().unwrap()
    }

    /// An argument that is a string.
    pub fn text(&self, index: usize) -> Vec<u8> {
        unhex(&self.arguments[index])
    }

    /// All bytes of the vectors that are written.
    pub fn vectors(&self) -> Vec<u8> {
        let bases = self.arguments.iter().filter_map(|argument| {
            let (_, base) = argument.split_once("iov_base=")?;
            Some(unhex(base))
        });
        bases.flatten().collect()
    }
}

/// `"\x2f\x74"`.
fn unhex(text: &str) -> Vec<u8> {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let inner = inner.unwrap_or_else(|| panic!("a string was cut short: {:.80}", text));
    let digits = inner.split("\\x").skip(1);
    digits
        .map(|digits| u8::from_str_radix(digits, 16).unwrap())
        .collect()
}
