//! Answers in XML, and reading them back.
//!
//! Owns: the wrapping of the query protocol and escaping. Does not own: what is answered.

use super::ApiError;

/// The namespace of every answer.
const NAMESPACE: &str = "http://importexport.amazonaws.com/doc/2010-06-01/";

/// Elements one inside the other, in order.
#[derive(Debug, Default)]
pub(crate) struct Elements(String);

impl Elements {
    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        self.0.push_str(&format!("<{name}>{}</{name}>", escape(value)));
        self
    }

    pub(crate) fn optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    pub(crate) fn inside(mut self, name: &str, elements: &Self) -> Self {
        self.0.push_str(&format!("<{name}>{}</{name}>", elements.0));
        self
    }

    pub(crate) fn members(self, name: &str, members: impl IntoIterator<Item = Self>) -> Self {
        let list = members.into_iter().fold(Self::default(), |list, member| list.inside("member", &member));
        self.inside(name, &list)
    }
}

/// The answer of an action.
pub(crate) fn answer(action: &str, result: &Elements, request_id: &str) -> String {
    format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{}</{action}Result>\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>",
        result.0
    )
}

/// The answer to a request that was refused.
pub(crate) fn error(error: &ApiError, request_id: &str) -> String {
    let inner = Elements::default()
        .text("Type", error.code.fault())
        .text("Code", &error.code.wire())
        .text("Message", &error.message);
    let whole = Elements::default().inside("Error", &inner).text("RequestId", request_id);
    format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{}</ErrorResponse>", whole.0)
}

/// What XML 1.0 cannot hold at all becomes U+FFFD; line ends are kept by reference.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'.. => escaped.push(c),
            _ => escaped.push('\u{FFFD}'),
        }
    }
    escaped
}

/// A text as it was before [`escape`].
pub(crate) fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    // The ampersand last, or its own escapes would be undone twice.
    for (escaped, c) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#13;", "\r"), ("&amp;", "&")] {
        plain = plain.replace(escaped, c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_markup_in_a_value_is_escaped() {
        let elements = Elements::default().text("A", "<&\"\r\u{1}>");
        assert_eq!(elements.0, "<A>&lt;&amp;&quot;&#13;\u{FFFD}&gt;</A>");
    }
}
