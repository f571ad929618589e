//! The span of a request. Its context takes the place of the caller's header, as it would in any proxy that traces, so that
//! whatever reads the header goes on from there: the record in Kafka does.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};

use crate::{
    ids::RequestId,
    process::trace::{Span, TraceContext, Tracer},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The caller's trace context. Two of them are none, by the specification.
pub(super) fn context(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    match (all.next(), all.next()) {
        (Some(one), None) => one.to_str().ok()?.parse().ok(),
        _ => None,
    }
}

/// Begins the span of a request.
pub(super) fn begin(
    tracer: &Tracer,
    headers: &mut HeaderMap,
    method: &'static str,
    route: Option<&str>,
) -> Span {
    if !tracer.is_on() {
        return Span::default();
    }
    let caller = context(headers);
    // A path that matches no route is the caller's text, and there is no end of them.
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let mut span = tracer.server(name, caller);
    // Not recorded here: then neither behind us, whatever the caller does.
    let onward = span.context().or_else(|| caller.filter(TraceContext::sampled).map(TraceContext::unsampled));
    if let Some(value) = onward.and_then(|context| HeaderValue::from_str(&context.to_string()).ok()) {
        headers.insert(TRACEPARENT, value);
    }
    span.text("http.request.method", || method);
    span.text("url.scheme", || "http");
    if let Some(route) = route {
        span.text("http.route", || route.to_owned());
    }
    span
}

/// Ends it with what was answered. The span of an event stream ends when the stream begins.
pub(super) fn end(mut span: Span, response: &Response) {
    let status = response.status();
    span.number("http.response.status_code", i64::from(status.as_u16()));
    if let Some(id) = response.extensions().get::<RequestId>() {
        span.text("parley.request.id", || id.to_string());
    }
    if status.is_server_error() {
        span.failed(if status.as_u16() == 503 { "unavailable" } else { "internal" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (TRACEPARENT, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_a_real_trace_context_is_passed_on() {
        let read = |values: &[&'static str]| context(&headers(values)).map(|context| context.to_string());
        assert_eq!(read(&[CALLER]).as_deref(), Some(CALLER));
        assert_eq!(read(&[CALLER, CALLER]), None, "two are none");
        for bad in ["", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0-0-0", "ff-x"] {
            assert_eq!(read(&[bad]), None, "{bad:?}");
        }
    }

    #[test]
    fn without_a_collector_headers_stay_as_they_are() {
        let mut untouched = headers(&[CALLER]);
        let span = begin(&Tracer::default(), &mut untouched, "GET", Some("/x"));
        assert_eq!((span.context(), untouched), (None, headers(&[CALLER])));
    }

    #[cfg(feature = "otlp")]
    mod recorded {
        use axum::response::IntoResponse as _;

        use super::*;
        use crate::process::trace::testing;

        #[test]
        fn the_spans_context_takes_the_callers_place() {
            let (tracer, kept) = testing::tracer("parentbased_always_on");
            let mut onward = headers(&[CALLER]);
            let span = begin(&tracer, &mut onward, "POST", Some("/api/rooms/{roomId}/messages"));
            let caller: TraceContext = CALLER.parse().unwrap();
            let ours = context(&onward).unwrap();
            assert_eq!((Some(ours), ours.trace()), (span.context(), caller.trace()));
            assert_ne!(ours.span(), caller.span());
            let id = RequestId::fresh();
            let mut response = axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response();
            response.extensions_mut().insert(id);
            end(span, &response);
            let [seen] = <[_; 1]>::try_from(kept.take()).unwrap();
            assert_eq!((seen.name.as_str(), seen.failed), ("POST /api/rooms/{roomId}/messages", true));
            assert_eq!((seen.context, seen.parent), (ours, caller.span()));
            for attribute in [
                "http.request.method=POST".to_owned(),
                "http.route=/api/rooms/{roomId}/messages".to_owned(),
                "http.response.status_code=503".to_owned(),
                "error.type=unavailable".to_owned(),
                format!("parley.request.id={id}"),
            ] {
                assert!(seen.attributes.contains(&attribute), "{attribute} in {:?}", seen.attributes);
            }
        }

        #[test]
        fn what_is_not_recorded_here_is_not_recorded_behind() {
            let onward = |sampler: &str, values: &[&'static str]| {
                let (tracer, kept) = testing::tracer(sampler);
                let mut onward = headers(values);
                drop(begin(&tracer, &mut onward, "GET", None));
                (onward.get(TRACEPARENT).map(|value| value.to_str().unwrap().to_owned()), kept.take().len())
            };
            let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
            assert_eq!(onward("always_off", &[CALLER]), (Some(unsampled.to_owned()), 0));
            assert_eq!(onward("parentbased_always_on", &[unsampled]), (Some(unsampled.to_owned()), 0));
            assert_eq!(
                onward("always_off", &[]),
                (None, 0),
                "nothing is added to a record that nobody traces"
            );
            assert_eq!(onward("always_on", &["nonsense"]).1, 1, "a trace of its own");
        }
    }
}
