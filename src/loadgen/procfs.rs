//! Processor time as Linux counts it in `/proc` (proc(5)), in seconds.

use std::{fs, io};

/// `/proc` counts in these; 100 a second on every Linux machine, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// One process's account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    /// The process that started it.
    pub(super) parent: u32,
    /// Used by itself, all threads together.
    pub(super) own: f64,
    /// Used by children that have ended.
    pub(super) reaped: f64,
}

/// Of a process by its number, or `self`.
pub(super) fn of(pid: &str) -> io::Result<Times> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    times(&stat).ok_or_else(|| io::Error::other(format!("process {pid} cannot be looked at")))
}

/// Of a process and its children, those that have ended too: PostgreSQL has a process for each connection.
pub(super) fn family(pid: u32) -> io::Result<f64> {
    let first = of(&pid.to_string())?;
    let mut sum = first.own + first.reaped;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else {
            continue;
        };
        // It may have ended meanwhile: then its parent's account holds it, the next time.
        if let Ok(child) = of(name)
            && child.parent == pid
        {
            sum += child.own + child.reaped;
        }
    }
    Ok(sum)
}

/// Of the whole machine.
pub(super) fn machine() -> io::Result<f64> {
    busy(&fs::read_to_string("/proc/stat")?).ok_or_else(|| io::Error::other("/proc/stat cannot be read"))
}

fn times(stat: &str) -> Option<Times> {
    // The name may hold anything but ends with the last parenthesis; the state comes after it.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let seconds = |user: usize| {
        let ticks = |n: usize| fields.get(n)?.parse::<f64>().ok();
        Some((ticks(user)? + ticks(user + 1)?) / TICKS_PER_SECOND)
    };
    Some(Times { parent: fields.get(1)?.parse().ok()?, own: seconds(11)?, reaped: seconds(13)? })
}

fn busy(stat: &str) -> Option<f64> {
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, then idle and iowait (left out), irq, softirq.
    let ticks: Option<Vec<f64>> = [0, 1, 2, 5, 6].iter().map(|n| fields.get(*n).copied()).collect();
    Some(ticks?.iter().sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_whatever_the_name_holds() {
        let stat = "42 (a) S 9 (b)) S 7 42 42 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 9 0 1234 1 2";
        assert_eq!(times(stat), Some(Times { parent: 7, own: 2.0, reaped: 0.5 }));
        assert_eq!(times("42 (cut"), None);
        assert_eq!(times("42 (cut) S 7 1 1"), None);
        let machine = "cpu  100 20 30 9999 500 6 4 0 0 0\ncpu0 1 2 3";
        assert_eq!(busy(machine), Some(1.6));
        assert_eq!(busy("cpu 1 2"), None);
    }

    #[test]
    fn this_process_has_an_account_and_a_parent() {
        let own = of("self").unwrap();
        assert!(own.parent > 0);
        assert!(family(own.parent).unwrap() >= own.own && machine().unwrap() > 0.0);
    }
}
