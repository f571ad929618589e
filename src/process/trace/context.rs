use std::{fmt, str::FromStr};

/// Where a piece of work stands in a distributed trace: the trace, the span that it is part of, and whether that is recorded. Its
/// text is the header `traceparent` (W3C Trace Context, level 2), written as version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Never all zero.
    trace: [u8; 16],
    /// Never all zero.
    span: [u8; 8],
    flags: u8,
}

/// The text is no trace context. Whoever brought it is answered as if there were none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no traceparent as the W3C describes it")]
pub struct InvalidTraceContext;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 0b01;
/// The flags that are defined: sampled, and "the trace id is random". All others are to be sent as zero.
const KNOWN: u8 = 0b11;
/// `00-<32 hex>-<16 hex>-<2 hex>`.
const LENGTH: usize = 55;

impl TraceContext {
    /// From its parts; `None` when an id is all zero.
    pub fn new(trace: [u8; 16], span: [u8; 8], flags: u8) -> Option<Self> {
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, flags: flags & KNOWN })
    }

    /// The trace's id.
    pub fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// The id of the span that all that comes is a part of.
    pub fn span(&self) -> [u8; 8] {
        self.span
    }

    /// The flags that are defined.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether it is recorded.
    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same, not recorded.
    pub fn unsampled(self) -> Self {
        Self { flags: self.flags & !SAMPLED, ..self }
    }

    fn read(text: &[u8]) -> Option<Self> {
        let [version] = hex(text.get(..2)?)?;
        // Later versions may add fields behind those of today; version 00 has none, and ff is no version.
        let whole = match text.get(LENGTH) {
            None => true,
            Some(next) => version != 0 && *next == b'-',
        };
        let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
        if version == 0xff || !whole || !dashes {
            return None;
        }
        let [flags] = hex(text.get(53..LENGTH)?)?;
        Self::new(hex(text.get(3..35)?)?, hex(text.get(36..52)?)?, flags)
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(text.as_bytes()).ok_or(InvalidTraceContext)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.span));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", self.flags)
    }
}

/// Lower-case hexadecimal of exactly `N` bytes.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_a_trace_context_and_what_is_not() {
        let read = |text: &str| text.parse::<TraceContext>().map(|context| context.to_string());
        let ids = &GOOD[3..53];
        for (text, want) in [
            (GOOD.to_owned(), Some(GOOD.to_owned())),
            (format!("00-{ids}00"), Some(format!("00-{ids}00"))),
            // Flags that nobody has defined are not passed on.
            (format!("00-{ids}ff"), Some(format!("00-{ids}03"))),
            // A later version is read as far as it is known.
            (format!("cc-{ids}01-what-comes-then"), Some(GOOD.to_owned())),
            (format!("cc-{ids}01"), Some(GOOD.to_owned())),
            (format!("cc-{ids}01."), None),
            (format!("00-{ids}01-more"), None),
            (format!("ff-{ids}01"), None),
            (format!("00-{ids}1"), None),
            (format!("00-{ids}0G"), None),
            (GOOD.to_uppercase(), None),
            (GOOD.replacen('-', "_", 1), None),
            (format!(" {GOOD}"), None),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01".to_owned(), None),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".to_owned(), None),
            (String::new(), None),
            ("é".repeat(28), None),
        ] {
            assert_eq!(read(&text).ok(), want, "{text}");
        }
    }

    #[test]
    fn the_sampled_flag_alone_decides() {
        let context: TraceContext = GOOD.parse().unwrap();
        assert!(context.sampled() && !context.unsampled().sampled());
        assert_eq!(context.unsampled().to_string(), GOOD.replace("-01", "-00"));
        assert_eq!(context.unsampled().trace(), context.trace());
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_again(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), flags in any::<u8>()) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let context = TraceContext::new(trace, span, flags).unwrap();
            prop_assert_eq!(context.to_string().parse(), Ok(context));
        }

        #[test]
        fn no_text_does_harm(text in "\\PC{0,80}") {
            let _ = text.parse::<TraceContext>();
        }
    }
}
