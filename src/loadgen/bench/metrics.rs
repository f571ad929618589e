use std::net::SocketAddr;

use super::BenchError;
use crate::loadgen::Client;

/// What a gateway says of its streams (`/metrics` of its admin server).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// Streams that it ended because their client did not keep up, since it started.
    pub(super) slow: u64,
    /// Bytes that wait for sockets now.
    pub(super) queued: u64,
}

/// Asks a gateway's admin server.
pub(super) async fn ask(admin: SocketAddr) -> Result<Said, BenchError> {
    let answer = Client::new(admin).get("/metrics").await.map_err(BenchError::Admin)?;
    let text = String::from_utf8_lossy(&answer.body);
    Ok(Said {
        slow: value(&text, "parley_sse_closed_total{reason=\"slow\"}"),
        queued: value(&text, "parley_sse_queue_bytes"),
    })
}

/// The value of one series; 0 when it is not there, for a label that never was is not shown.
fn value(text: &str, series: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let text = "# TYPE parley_sse_queue_bytes gauge\nparley_sse_queue_bytes 70000\nparley_sse_queue_bytes_x 1\n\
                    parley_sse_closed_total{reason=\"gone\"} 9\nparley_sse_closed_total{reason=\"slow\"} 4\n";
        assert_eq!(value(text, "parley_sse_queue_bytes"), 70_000);
        assert_eq!(value(text, "parley_sse_closed_total{reason=\"slow\"}"), 4);
        assert_eq!(value(text, "parley_sse_closed_total{reason=\"life\"}"), 0);
    }
}
