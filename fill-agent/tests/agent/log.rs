//! How much the running agent logs, changed by the real `ocactl`.

use std::process::Command;

use super::appliance::{Appliance, Running, eventually};
use super::endpoint::Endpoint;
use super::program;

fn log_level(appliance: &Appliance, arguments: &[&str]) -> String {
    let mut command = Command::new(program::of("ocactl", "ocactl"));
    command.arg("--config").arg(appliance.path("oca.toml"));
    command.args(["log-level", "--of", "agent"]).args(arguments);
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.success(), !text.contains("refuses"), "{text}");
    text.trim_end().to_owned()
}

/// How often a reload was logged, after one more that the agent has done.
fn reloads(
    endpoint: &Endpoint,
    appliance: &Appliance,
    agent: &Running<'_>,
    megabits: u64,
) -> usize {
    appliance.configure(endpoint, |text| {
        text.replace("400 Mbit/s", &format!("{megabits} Mbit/s"))
    });
    agent.hang_up();
    agent.until("the reload is done", |status| {
        status.rate == Some(megabits * 1_000_000)
    });
    let log = appliance.log();
    log.matches("the configuration was reloaded").count()
}

#[test]
fn the_level_is_changed_in_the_running_agent_and_goes_back() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let agent = appliance.run();
    let configured = "fill agent: info, as configured";
    assert_eq!(log_level(&appliance, &[]), configured);
    assert_eq!(reloads(&endpoint, &appliance, &agent, 1), 1);

    let quiet = log_level(&appliance, &["error"]);
    assert_eq!(quiet, "fill agent: error until it is restarted; then info");
    assert_eq!(reloads(&endpoint, &appliance, &agent, 2), 1);

    let refused = log_level(&appliance, &["loud"]);
    assert!(
        refused.contains("the fill agent refuses: \"loud\" is not a log level"),
        "{refused}"
    );
    assert_eq!(log_level(&appliance, &[]), quiet);

    let for_a_while = log_level(&appliance, &["warn", "--for", "1s"]);
    assert!(
        for_a_while.starts_with("fill agent: warn until "),
        "{for_a_while}"
    );
    eventually("it is as configured again", || {
        (log_level(&appliance, &[]) == configured).then_some(())
    });
    assert_eq!(reloads(&endpoint, &appliance, &agent, 3), 2);
}
