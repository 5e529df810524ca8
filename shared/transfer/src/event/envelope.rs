//! What notifications come wrapped in.
//!
//! Owns: finding the text inside: SNS and SMN (`Message`), SMQ, formerly MNS (`Message`, `MessageBody`, Base64, XML), Kodo (`Message`), the
//! queue triggers of Function Compute (`data.messageBody`) and of Lambda (`body`), and telling what only tries the line. Invariant: what is
//! inside is shorter than what is around it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::{Ignored, IgnoredWhy, field};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text inside an object.
pub(super) fn text(value: &Value) -> Option<&str> {
    ["Message", "MessageBody", "messageBody", "message"].iter().find_map(|name| field::text(&value[*name]))
}

/// The text inside one of several records: SQS and SNS as Lambda gets them.
pub(super) fn record_text(record: &Value) -> Option<&str> {
    let places = [&record["body"], &record["Sns"]["Message"], &record["data"]["messageBody"]];
    places.into_iter().find_map(field::text).or_else(|| text(record))
}

/// What a sender sends to see whether anybody is there.
pub(super) fn rehearsal(value: &Value) -> Option<Ignored> {
    let test = field::text(&value["Event"]).filter(|name| name.ends_with("TestEvent"));
    let confirmation = ["Type", "type"]
        .iter()
        .find_map(|name| field::text(&value[*name]))
        .filter(|name| matches!(*name, "SubscriptionConfirmation" | "UnsubscribeConfirmation"));
    test.or(confirmation).map(|name| Ignored { why: IgnoredWhy::Test, name: name.to_owned() })
}

/// The text that a text is the Base64 of.
pub(super) fn base64(text: &str) -> Option<String> {
    let packed: String = text.split_ascii_whitespace().collect();
    if packed.is_empty() {
        return None;
    }
    String::from_utf8(LENIENT.decode(packed).ok()?).ok()
}

/// The text inside an SMQ message in XML.
pub(super) fn xml(text: &str) -> Option<String> {
    if !text.trim_start().starts_with('<') {
        return None;
    }
    ["Message", "MessageBody"].iter().find_map(|element| {
        let (_before, rest) = text.split_once(&format!("<{element}>"))?;
        let (inner, _after) = rest.split_once(&format!("</{element}>"))?;
        let inner = inner.trim();
        let bare = inner.strip_prefix("<![CDATA[").and_then(|inner| inner.strip_suffix("]]>"));
        Some(bare.map_or_else(|| unescape(inner), str::to_owned))
    })
}

/// `&amp;` last, so that what it makes is not taken for an entity.
fn unescape(text: &str) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    plain.replace("&#34;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}
