use std::time::Duration;

use hyper::Uri;

use super::sampler::Sampling;

/// What the environment says of spans, by the names and defaults of the OpenTelemetry specification. Headers for the collector
/// (`OTEL_EXPORTER_OTLP_HEADERS`, which may hold a secret), the delay between two exports (`OTEL_BSP_SCHEDULE_DELAY`) and further
/// attributes (`OTEL_RESOURCE_ATTRIBUTES`) are read by OpenTelemetry's crates.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// Where spans are posted to.
    pub(super) url: String,
    /// The same as far as it may be logged.
    pub(super) place: String,
    /// Whether it is spoken to over TLS.
    pub(super) secure: bool,
    /// How long one export may take.
    pub(super) patience: Duration,
    pub(super) sampling: Sampling,
    /// The most spans that wait.
    pub(super) queue: usize,
    /// `service.name`, when it is set.
    pub(super) service: Option<String>,
}

/// `OTEL_BSP_MAX_QUEUE_SIZE`: a few MB at the very most.
const QUEUE: usize = 2_048;
/// `OTEL_EXPORTER_OTLP_TIMEOUT` in milliseconds.
const PATIENCE: u64 = 10_000;

impl Settings {
    /// Reads them; `None` when no spans are to be made. An error is one line that names the variable, never its value.
    pub(super) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        // An empty variable is the same as none, by the specification.
        let get = |name: &str| get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        // The one for traces alone goes first.
        let either = |rest: &str| {
            [format!("OTEL_EXPORTER_OTLP_TRACES_{rest}"), format!("OTEL_EXPORTER_OTLP_{rest}")]
                .into_iter()
                .find_map(|name| Some((get(&name)?, name)))
        };
        if get("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let exporter = get("OTEL_TRACES_EXPORTER");
        match exporter.as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(_) => return Err("OTEL_TRACES_EXPORTER must be otlp or none".to_owned()),
        }
        let Some((endpoint, name)) = either("ENDPOINT") else { return Ok(None) };
        let (url, place, secure) = url(&endpoint, !name.contains("TRACES")).ok_or_else(|| {
            format!(
                "{name} must be http://HOST:PORT or https://HOST:PORT, perhaps with a path, without a user"
            )
        })?;
        if let Some((protocol, name)) = either("PROTOCOL")
            && protocol != "http/protobuf"
        {
            return Err(format!(
                "{name} must be http/protobuf; collectors listen for it at port 4318 as a rule"
            ));
        }
        let patience = match either("TIMEOUT") {
            None => PATIENCE,
            Some((text, name)) => number(&text, 1..=600_000)
                .ok_or_else(|| format!("{name} must be milliseconds, 1 to 600000"))?,
        };
        let queue = match get("OTEL_BSP_MAX_QUEUE_SIZE") {
            None => QUEUE,
            Some(text) => number(&text, 1..=100_000)
                .and_then(|spans| usize::try_from(spans).ok())
                .ok_or("OTEL_BSP_MAX_QUEUE_SIZE must be spans, 1 to 100000")?,
        };
        let sampling = match get("OTEL_TRACES_SAMPLER") {
            None => Sampling::default(),
            Some(name) => Sampling::read(&name, get("OTEL_TRACES_SAMPLER_ARG").as_deref())?,
        };
        let patience = Duration::from_millis(patience);
        Ok(Some(Self { url, place, secure, patience, sampling, queue, service: get("OTEL_SERVICE_NAME") }))
    }
}

/// The whole URL, the part of it that may be logged, and whether it is TLS. To an endpoint for all signals the traces' path is
/// added.
fn url(endpoint: &str, add_path: bool) -> Option<(String, String, bool)> {
    let uri: Uri = endpoint.parse().ok()?;
    let secure = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let authority = uri.authority()?.as_str();
    let host = uri.host().filter(|host| !host.is_empty())?;
    // A user would stand before the host.
    let port = authority.strip_prefix(host)?;
    let is_port = port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if !(port.is_empty() || is_port) || (add_path && uri.query().is_some()) {
        return None;
    }
    let place = format!("{}://{authority}", uri.scheme_str()?);
    let url = if add_path {
        format!("{place}{}/v1/traces", uri.path().trim_end_matches('/'))
    } else {
        uri.to_string()
    };
    Some((url, place, secure))
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    text.parse().ok().filter(|number| range.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        Settings::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_an_endpoint_or_when_told_so_there_are_no_spans() {
        for variables in [
            vec![],
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            vec![("OTEL_SERVICE_NAME", "chat"), ("OTEL_TRACES_SAMPLER", "nonsense")],
            vec![ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
            vec![ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(read(&variables), Ok(None), "{variables:?}");
        }
    }

    #[test]
    fn endpoints_and_what_is_none() {
        let base = |text| read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", text)]).ok().flatten();
        let own = |text| read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", text)]).ok().flatten();
        for (settings, want) in [
            (base("http://collector:4318"), Some("http://collector:4318/v1/traces")),
            (base("http://collector:4318/"), Some("http://collector:4318/v1/traces")),
            (base("https://host/tenant/a/"), Some("https://host/tenant/a/v1/traces")),
            (base("http://[::1]:4318"), Some("http://[::1]:4318/v1/traces")),
            (own("http://other/x"), Some("http://other/x")),
            (own("http://other/x?a=b"), Some("http://other/x?a=b")),
            (own("other"), None),
            (base("collector:4318"), None),
            (base("grpc://collector:4317"), None),
            (base("http://"), None),
            (base("http://user:secret@collector:4318"), None),
            (base("http://collector:4318?x"), None),
            (base("http://collector:port"), None),
            (base("not an address"), None),
        ] {
            assert_eq!(settings.map(|settings| settings.url).as_deref(), want);
        }
        let settings = base("https://host:1/tenant").unwrap();
        assert_eq!((settings.place.as_str(), settings.secure), ("https://host:1", true));
    }

    #[test]
    fn the_rest_with_its_defaults() {
        let settings = read(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!((settings.patience, settings.queue), (Duration::from_secs(10), 2_048));
        assert_eq!((settings.sampling, settings.service), (Sampling::default(), None));
        let set = read(&[
            ENDPOINT,
            ("OTEL_SERVICE_NAME", "chat"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ]);
        let set = set.unwrap().unwrap();
        assert_eq!((set.patience, set.queue), (Duration::from_millis(250), 64));
        assert_eq!(set.sampling, Sampling::read("traceidratio", Some("0.5")).unwrap());
        assert_eq!(set.service.as_deref(), Some("chat"));
    }

    #[test]
    fn a_wrong_value_is_named_by_its_variable_and_not_repeated() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@x"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "hunter2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "hunter2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "hunter2"),
            ("OTEL_TRACES_EXPORTER", "hunter2"),
            ("OTEL_TRACES_SAMPLER", "hunter2"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ] {
            let line = read(&[(name, value), ENDPOINT]).unwrap_err();
            assert!(line.contains(name) && !line.contains("hunter2"), "{line}");
        }
    }
}
