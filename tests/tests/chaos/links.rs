//! Builders in network namespaces of their own: links go down and up, addresses change, packets are lost.
//!
//! Owns the namespaces and what is done to them. Everything goes with the process that holds a namespace. Where the
//! machine allows none, the test says so and does nothing.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use moji_tests::faults::Tally;
use moji_tests::{Daemon, Farm, SOON, poll_until};

use crate::pieces::{Package, assert_done_once, drop_planned, hub_lines, hub_log, leases, plan};

/// How long a link is down that comes back before anybody gives up.
const SHORT: Duration = Duration::from_secs(3);
/// What both sides may take to notice silence, on a busy machine.
const NOTICED: Duration = Duration::from_secs(140);
/// How long a transfer may take over a bad line.
const SLOW: Duration = Duration::from_secs(180);

/// A namespace with one link to this machine's own.
struct Net {
    /// Holds the namespace.
    holder: Child,
    /// The link's end on the hub's side.
    here: String,
    /// Its end on the builder's side.
    there: String,
    /// The first three numbers of all addresses.
    subnet: [u8; 3],
}

/// Runs a command; what it said if it failed.
fn run(words: &[&str]) -> Result<(), String> {
    let ended = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    match ended {
        Ok(ended) if ended.status.success() => Ok(()),
        Ok(ended) => Err(format!("{words:?}: {}", String::from_utf8_lossy(&ended.stderr).trim())),
        Err(why) => Err(format!("{words:?}: {why}")),
    }
}

impl Net {
    fn new(number: u8) -> Result<Net, String> {
        let id = std::process::id();
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "1200"]).stdin(Stdio::null());
        let holder = command.spawn().map_err(|why| format!("unshare: {why}"))?;
        let subnet = [10, 200 + (id % 50) as u8, (id / 50 % 100) as u8 * 2 + number];
        let (here, there) = (format!("mh{number}-{id}"), format!("mb{number}-{id}"));
        let net = Net { holder, here, there, subnet };
        let pid = net.holder.id();
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        if !poll_until(SOON, || of(&pid.to_string()).is_some_and(|it| Some(it) != of("self"))) {
            return Err("no network namespace can be made".to_owned());
        }
        run(&["ip", "link", "add", &net.here, "type", "veth", "peer", "name", &net.there])?;
        run(&["ip", "link", "set", &net.there, "netns", &pid.to_string()])?;
        run(&["ip", "addr", "add", &format!("{}/24", net.address(1)), "dev", &net.here])?;
        run(&["ip", "link", "set", &net.here, "up"])?;
        net.inside(&["ip", "addr", "add", &format!("{}/24", net.address(2)), "dev", &net.there])?;
        net.inside(&["ip", "link", "set", &net.there, "up"])?;
        Ok(net)
    }

    fn address(&self, last: u8) -> IpAddr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, last).into()
    }

    fn inside(&self, words: &[&str]) -> Result<(), String> {
        let pid = self.holder.id().to_string();
        run(&[&["nsenter", "-t", &pid, "-n"], words].concat())
    }

    fn set(&self, state: &str) {
        run(&["ip", "link", "set", &self.here, state]).expect("a link goes up and down");
    }

    /// Bytes that came over it from the builder, or went to it.
    fn bytes(&self, counter: &str) -> u64 {
        let path = format!("/sys/class/net/{}/statistics/{counter}", self.here);
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Starts a builder in it, with the hub's address on this link.
    fn start_builder(&self, farm: &Farm, number: usize) -> Daemon {
        let command = farm.builder_command(number);
        let mut inside = Command::new("nsenter");
        inside.args(["-t", &self.holder.id().to_string(), "-n"]).arg(command.get_program());
        let port = farm.hub_addr().port();
        inside.arg(format!("{}:{port}", self.address(1))).args(command.get_args().skip(1));
        inside.args(["--name", &format!("b{number}")]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        let name = format!("builder{number}");
        Daemon::spawn(&name, inside, &farm.path().join(format!("{name}.log")))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = run(&["ip", "link", "del", &self.here]);
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Two namespaces, or why there can be none.
fn nets() -> Result<[Net; 2], String> {
    Ok([Net::new(0)?, Net::new(1)?])
}

fn adoptions(farm: &Farm, package: &Package) -> usize {
    hub_lines(farm, &package.srpm, "adopted: its builder is back")
}

/// Waits, looking all the time, until so many more bytes went over the link.
fn wait_bytes(net: &Net, counter: &str, more: u64) -> bool {
    let (from, end) = (net.bytes(counter), Instant::now() + SOON);
    while net.bytes(counter) < from + more {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// A link that is down for moments in a download and in an upload; true if it was in the middle of them.
fn short_outages(farm: &Farm, net: &Net, tally: &mut Tally) {
    for (counter, source_kib, result_kib) in [("tx_bytes", 8_000, 1), ("rx_bytes", 1, 8_000)] {
        let package = plan(farm, &format!("short-{counter}"), source_kib, result_kib, None);
        drop_planned(farm, &package);
        let moved = wait_bytes(net, counter, 1_000_000);
        net.set("down");
        let amid = farm.places(&package.srpm) == ["working"];
        std::thread::sleep(SHORT);
        net.set("up");
        tally.holds(moved && amid, || format!("{counter}: it was over before the link was down"));
        finish(farm, 0, &package, tally);
    }
}

fn finish(farm: &Farm, builder: usize, package: &Package, tally: &mut Tally) {
    farm.wait_until("it to be finished", SLOW, |farm| farm.places(&package.srpm) == ["finished"]);
    assert_done_once(farm, builder, package);
    let leased = leases(farm, &package.srpm);
    tally.holds(leased == 1, || format!("{}: {leased} leases\n{}", package.srpm, farm.diagnosis()));
    tally.case();
}

/// A link that is down until both sides have noticed, and a builder that gets another address; both at once.
fn long_outages(farm: &Farm, nets: &[Net; 2], tally: &mut Tally) {
    let packages = [0, 1].map(|number| {
        let package = plan(farm, &format!("long{number}"), 1, 1, Some("long"));
        drop_planned(farm, &package);
        farm.wait_until("it to be leased", SOON, |farm| farm.places(&package.srpm) == ["working"]);
        package
    });
    farm.wait_until("both to build", SOON, |farm| farm.mocks().len() == 2);
    nets[0].set("down");
    let [_, other] = nets;
    let inside = |words: &[&str]| other.inside(words).expect("addresses can be changed");
    inside(&["ip", "addr", "del", &format!("{}/24", other.address(2)), "dev", &other.there]);
    inside(&["ip", "addr", "add", &format!("{}/24", other.address(3)), "dev", &other.there]);
    farm.wait_until("the hub to notice both", NOTICED, |farm| {
        hub_log(farm).matches("its builder is gone: the grace begins").count() >= 2
    });
    for number in 0..2 {
        let log = farm.path().join(format!("builder{number}.log"));
        farm.wait_until("the builders to notice", NOTICED, |_| {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("next attempt in"))
        });
    }
    nets[0].set("up");
    for package in &packages {
        farm.wait_until("it to be adopted", NOTICED, |farm| adoptions(farm, package) >= 1);
    }
    farm.open_gate("long");
    // Which builder has which is not known: a builder's spool is empty when both are done.
    for package in &packages {
        finish(farm, 0, package, tally);
    }
}

/// Packets that are lost; only where the kernel can do that.
fn lossy(farm: &Farm, net: &Net, tally: &mut Tally) {
    if let Err(why) =
        run(&["tc", "qdisc", "add", "dev", &net.here, "root", "netem", "loss", "5%", "delay", "5ms"])
    {
        eprintln!("chaos-links: NO LOSS OF PACKETS ON THIS MACHINE, LEFT OUT: {why}");
        tally.figure("without loss of packets: this kernel has no netem");
        return;
    }
    let package = plan(farm, "lossy", 1_000, 1_000, None);
    drop_planned(farm, &package);
    finish(farm, 0, &package, tally);
    tally.figure("5 % of all packets lost");
}

#[test]
fn builds_survive_links_that_go_down_and_addresses_that_change() {
    let nets = match nets() {
        Ok(nets) => nets,
        Err(why) => return eprintln!("chaos-links: NO NETWORK OF ITS OWN ON THIS MACHINE, LEFT OUT: {why}"),
    };
    let mut tally = Tally::new(
        4,
        "chaos-links",
        "builders in network namespaces: a link down in download, upload and build, for seconds and until both sides \
         notice, another address, lost packets",
        "every build goes on under its one lease and is done once",
        "cargo test -p moji-tests --test chaos builds_survive_links",
    );
    let mut farm = Farm::plan().builders(0).listen(Ipv4Addr::UNSPECIFIED.into()).start();
    let mut daemons = vec![nets[0].start_builder(&farm, 0)];
    farm.wait_hub_says("builder=b0 up from");
    short_outages(&farm, &nets[0], &mut tally);
    lossy(&farm, &nets[0], &mut tally);
    daemons.push(nets[1].start_builder(&farm, 1));
    farm.wait_hub_says("builder=b1 up from");
    long_outages(&farm, &nets, &mut tally);
    for daemon in &mut daemons {
        tally.holds(daemon.is_running(), || format!("{} died", daemon.name()));
        tally.holds(!daemon.logs_contain("panicked"), || format!("{} panicked", daemon.name()));
    }
    tally
        .holds(farm.hub().is_running() && !hub_log(&farm).contains("panicked"), || "the hub died".to_owned());
    tally.end();
    drop(daemons);
}
