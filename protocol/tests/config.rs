//! The configuration as an operator meets it: what is read, and word for word what is said about a wrong one.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use protocol::config::{self, Auto, Backend, Config, OnMiss, TierRole, Tls};
use protocol::paths;
use protocol::units::{BitRate, ByteSize, Interval};

const MINIMAL: &str = r#"
[appliance]
id = "c001.fra001.example"
[listen]
http = ["127.0.0.1:8080"]
[[tier]]
name = "nvme"
role = "hot"
devices = ["/srv/a", "/srv/b"]
"#;

fn parse(text: &str) -> Result<Config, String> {
    config::parse(text, Path::new("oca.toml"), &paths::LINUX).map_err(|error| error.to_string())
}

#[test]
fn the_shipped_example_is_right_with_and_without_its_comments() {
    let example = include_str!("../../docs/examples/oca.toml");
    let config = parse(example).unwrap();
    assert_eq!(config.tiers.len(), 2);
    assert_eq!(config.appliance.site, "fra001.example");

    let uncommented: String = example
        .lines()
        .skip_while(|line| !line.starts_with('['))
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(|line| !line.starts_with("Every device") && !line.starts_with("  ocactl"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let config = parse(&uncommented).unwrap();
    assert_eq!(config.bgp.neighbor.len(), 1);
    let fill = config.fill.unwrap();
    assert_eq!(
        fill.rate,
        Some(BitRate::from_bits_per_second(1_200_000_000))
    );
    // The values of [fill] and [control] in the example are the defaults, but for what has none.
    let plain = format!(
        "{MINIMAL}[control]\nurl = \"https://control.example/\"\nkeys = [\"/etc/oca/control-1.pub\"]\n\
         token_file = \"/etc/oca/token\"\nca = \"/etc/oca/tls/fleet-ca.pem\"\n\
         client = {{ cert = \"/etc/oca/tls/box.pem\", key = \"/etc/oca/tls/box.key\" }}\n\
         strict = \"12 h\"\n\
         [fill]\nwindow = \"02:00-14:00\"\ntimezone = \"Europe/Berlin\"\nrate = \"1.2 Gbit/s\"\n\
         urgent_rate = \"120 Mbit/s\"\norigin_ca = \"/etc/oca/tls/origin-ca.pem\"\n"
    );
    let plain = parse(&plain).unwrap();
    assert_eq!(Some(fill), plain.fill);
    assert_eq!(config.control, plain.control);
    // The values of [tls] in the example are the defaults, but for the files.
    let certificates = example
        .lines()
        .find(|line| line.starts_with("# certificates"));
    let plain = certificates.unwrap().strip_prefix("# ").unwrap();
    let plain = parse(&format!("{MINIMAL}[tls]\n{plain}\n")).unwrap().tls;
    let tls = config.tls.map(|tls| Tls {
        client_ca: None,
        ..tls
    });
    assert_eq!(tls, plain);
    // What is said of the access log are the defaults, but for its path and the share.
    let log = parse(&format!(
        "{MINIMAL}[log]\naccess = {{ path = \"/var/log/oca/access.log\", sample = \"1 %\" }}\n"
    ));
    assert_eq!(config.log, log.unwrap().log);
}

#[test]
fn a_window_of_a_whole_day_is_always_open() {
    let with = |window: &str| {
        let control = "[control]\nurl = \"https://control.example/\"\nkeys = [\"/k\"]\n";
        parse(&format!(
            "{MINIMAL}{control}[fill]\nwindow = \"{window}\"\n"
        ))
    };
    for window in [
        "00:00-24:00",
        "22:00-06:00",
        "00:00-23:59",
        " 02:00 - 14:00 ",
    ] {
        assert_eq!(with(window).unwrap().fill.unwrap().window, window);
    }
}

#[test]
fn the_commented_values_of_the_example_are_the_defaults() {
    let example = parse(include_str!("../../docs/examples/oca.toml")).unwrap();
    let config = parse(MINIMAL).unwrap();
    assert_eq!(example.serve, config.serve);
    assert_eq!(example.workers, config.workers);
    assert_eq!(example.steering, config.steering);
    assert_eq!(example.log, config.log);
    assert_eq!(example.listen.admin, config.listen.admin);
}

#[test]
fn defaults_depend_on_the_role_and_on_the_system() {
    let config = parse(
        &MINIMAL.replace(
            "[[tier]]",
            "[[tier]]\nname = \"one\"\nrole = \"hot\"\ndevices = [\"/srv/one\"]\n\
             [[tier]]\nname = \"hdd\"\nrole = \"capacity\"\ndevices = [\"/srv/c\"]\nshared_fs = true\n[[tier]]",
        ),
    )
    .unwrap();
    let [one, hdd, nvme] = &config.tiers[..] else {
        panic!("three tiers")
    };
    assert_eq!(
        (one.stripe_width, hdd.stripe_width, nvme.stripe_width),
        (1, 1, 2)
    );
    assert_eq!((hdd.role, nvme.role), (TierRole::Capacity, TierRole::Hot));
    assert_eq!((hdd.shared_fs, nvme.shared_fs), (true, false));
    assert_eq!(
        (hdd.read_unit.bytes(), hdd.stripe_unit.bytes()),
        (4 << 20, 8 << 20)
    );
    assert_eq!(
        (nvme.read_unit.bytes(), nvme.stripe_unit.bytes()),
        (256 << 10, 1 << 20)
    );
    let devices: Vec<PathBuf> = config.devices().map(|(_, path)| path.to_owned()).collect();
    assert_eq!(
        devices,
        ["/srv/one", "/srv/c", "/srv/a", "/srv/b"].map(PathBuf::from)
    );
    assert_eq!(config.daemon_socket(), Path::new("/run/oca/daemon.sock"));

    let freebsd = config::parse(MINIMAL, Path::new("oca.toml"), &paths::FREEBSD).unwrap();
    assert_eq!(freebsd.appliance.state_dir, Path::new("/var/db/oca"));
}

#[test]
fn values_mean_what_they_say() {
    let config = parse(&format!(
        "{MINIMAL}[workers]\ncount = 3\nmemory = \"1.5 GiB\"\nbackend = \"epoll\"\n\
         [serve]\non_miss = {{ redirect = \"https://control.example/v1/play\" }}\nstop_bound = \"500 ms\"\n\
         max_connections = 9\nmax_connections_per_address = 5\n"
    ))
    .unwrap();
    assert_eq!(config.workers.count, Auto::Fixed(3));
    assert_eq!(
        config.workers.memory,
        Auto::Fixed(ByteSize::from_bytes(3 << 29))
    );
    assert_eq!(config.workers.in_flight, Auto::Auto);
    assert_eq!(config.workers.backend, Auto::Fixed(Backend::Epoll));
    assert_eq!(
        config.serve.on_miss,
        OnMiss::Redirect("https://control.example/v1/play".into())
    );
    assert_eq!(config.serve.stop_bound.duration().as_millis(), 500);
    assert_eq!(config.serve.idle_timeout, Interval::from_seconds(60));
    assert_eq!(
        (
            config.serve.max_connections,
            config.serve.max_connections_per_address
        ),
        (Auto::Fixed(9), Auto::Fixed(5))
    );
}

/// Each case: what is replaced in [`MINIMAL`] by what (appended, if nothing is replaced), and what is said.
#[test]
fn what_is_wrong_is_said_with_line_key_and_way_out() {
    let cases: &[(&str, &str, &str)] = &include!("config/wrong.in");
    for (old, new, expected) in cases {
        let text = if old.is_empty() {
            format!("{MINIMAL}{new}\n")
        } else {
            MINIMAL.replace(old, new)
        };
        assert_ne!(text, MINIMAL, "{old:?} is not in the text");
        match parse(&text) {
            Ok(_) => panic!("accepted, instead of {expected}\n{text}"),
            Err(said) => assert_eq!(said, *expected, "\n{text}"),
        }
    }
}

#[test]
fn every_problem_is_said_in_the_order_of_the_file() {
    let text = MINIMAL
        .replace("c001.fra001.example", "a b")
        .replace("/srv/a", "srv")
        .replace("127.0.0.1:8080", "127.0.0.1:9580");
    let said = parse(&text).unwrap_err();
    let lines: Vec<&str> = said
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(lines, ["oca.toml:3", "oca.toml:5", "oca.toml:9"]);
}

#[test]
fn a_missing_file_and_missing_named_files_are_said() {
    let said = config::load(Path::new("/nonexistent/oca.toml"))
        .unwrap_err()
        .to_string();
    assert_eq!(
        said,
        "/nonexistent/oca.toml: cannot be read: No such file or directory (os error 2); \
         name the configuration file with --config FILE"
    );

    let file = std::env::temp_dir().join(format!("oca-config-{}.toml", std::process::id()));
    let control = "[control]\nurl = \"https://control.example/\"\nkeys = [\"/nonexistent/key\"]\n";
    std::fs::write(&file, format!("{MINIMAL}{control}")).unwrap();
    let said = config::load(&file).unwrap_err().to_string();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        said,
        format!(
            "{}:12: control.keys: \"/nonexistent/key\" does not exist; allowed: a file that is there",
            file.display()
        )
    );
}

proptest! {
    /// Any change to a right file ends in a configuration or in problems with lines, never in a panic.
    #[test]
    fn no_text_panics(at in 0..MINIMAL.len(), cut in 0..20_usize, new in "[\\PC\\n]{0,8}") {
        let end = (at + cut).min(MINIMAL.len());
        let text = format!("{}{new}{}", &MINIMAL[..at], &MINIMAL[end..]);
        if let Err(error) = config::parse(&text, Path::new("oca.toml"), &paths::LINUX) {
            prop_assert!(!error.problems().is_empty());
            let lines = text.lines().count() + 1;
            prop_assert!(error.problems().iter().all(|problem| problem.line.is_none_or(|line| line <= lines)));
        }
    }
}
