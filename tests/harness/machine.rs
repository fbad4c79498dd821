//! CPU time and memory of this process and its descendants, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Clock ticks per second in `/proc/*/stat`: fixed on Linux.
const TICKS: f64 = 100.0;

/// The usage of the processes of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time since the processes started, including their finished children.
    pub cpu: Duration,
    /// Resident memory without shared memory, in bytes.
    pub memory: u64,
}

struct Process {
    parent: u32,
    cpu: Duration,
}

/// Returns the usage of this process (`driver`) and of each of its children with its descendants, by the kind of the
/// child: `temporal`, `run`, `serve`, `worker`, `postgres`, `floor`.
pub fn usage() -> BTreeMap<String, Usage> {
    let entries = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let processes: BTreeMap<u32, Process> = ids.filter_map(|id| Some((id, read(id)?))).collect();
    let own = std::process::id();
    let mut all = BTreeMap::<String, Usage>::new();
    for (id, process) in &processes {
        let Some(child) = child_above(*id, own, &processes) else {
            continue;
        };
        let Some(kind) = kind(child, own) else {
            continue;
        };
        let usage = all.entry(kind).or_default();
        usage.cpu += process.cpu;
        usage.memory += memory(*id);
    }
    all
}

/// Returns the child of `own` from which a process descends; `own` itself for `own`.
fn child_above(id: u32, own: u32, processes: &BTreeMap<u32, Process>) -> Option<u32> {
    if id == own {
        return Some(own);
    }
    let mut current = id;
    loop {
        let parent = processes.get(&current)?.parent;
        if parent == own {
            return Some(current);
        }
        current = parent;
    }
}

fn read(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    // utime and stime of the process, and of its finished children that were waited for.
    let ticks: u32 = fields
        .get(11..15)?
        .iter()
        .filter_map(|field| field.parse::<u32>().ok())
        .sum();
    Some(Process {
        parent,
        cpu: Duration::from_secs_f64(f64::from(ticks) / TICKS),
    })
}

/// Returns the kind of a child of this process; `None` for the harness's shell.
fn kind(id: u32, own: u32) -> Option<String> {
    if id == own {
        return Some("driver".to_owned());
    }
    let line = fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?;
    let mut arguments = line.split('\0');
    let program = arguments.next()?.rsplit('/').next()?;
    match program {
        "sh" => None,
        // Matches another build of settle too, whatever its name.
        settle if settle.starts_with("settle") || settle == "road-load" => {
            arguments.next().map(str::to_owned)
        }
        other => Some(other.split([' ', ':']).next().unwrap_or(other).to_owned()),
    }
}

fn memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let kilobytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or(0)
    };
    (kilobytes("RssAnon") + kilobytes("RssFile")) * 1024
}

/// Returns the machine's load average over the last minute.
pub fn load_average() -> f64 {
    let line = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    line.split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0)
}
