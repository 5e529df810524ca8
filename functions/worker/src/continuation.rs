//! The message that carries on where the time of an invocation ended.
//!
//! Owns: the hop counter of a message that a function sends to its own queue. Does not own: what was done, which lies in the open
//! upload. Invariant: a message is sent on at most [`HOPS_MAX`] times; after that it is given back, so that the queue's own
//! count of deliveries ends it. Lambda's loop detection ends such chains after some 16 hops without a word (AWS Lambda Developer
//! Guide, "Recursive loop detection"), which is why the deployment sets `RecursiveLoop: Allow` and this counts.

use serde_json::Value;

/// Most times a message is sent on: at 300 s an invocation and 60 MB/s, 1.8 TB of one object by one worker after another.
const HOPS_MAX: u64 = 100;

/// The field that counts; readers of messages ignore fields they do not know.
const HOPS: &str = "hops";

/// The message after this one; `None` if it has hopped often enough, or is no message.
pub(crate) fn of(body: &str) -> Option<String> {
    let mut message: Value = serde_json::from_str(body).ok()?;
    let fields = message.as_object_mut()?;
    let hops = fields.get(HOPS).and_then(Value::as_u64).unwrap_or(0);
    if hops >= HOPS_MAX {
        return None;
    }
    fields.insert(HOPS.to_owned(), (hops + 1).into());
    Some(message.to_string())
}

#[cfg(test)]
mod tests {
    use ferry_transfer::job::Message;

    use super::*;

    #[test]
    fn a_message_hops_so_often_and_no_more_and_stays_what_it_is() {
        let first = r#"{"key":"a","size":3,"task":"t"}"#;
        let mut body = first.to_owned();
        for _ in 0..HOPS_MAX {
            body = of(&body).expect("another hop");
        }
        assert_eq!(of(&body), None);
        let key_of = |body: &str| match Message::parse(body).expect("a message") {
            Message::Object(job) => (job.key.as_str().to_owned(), job.task),
            other => panic!("{other:?}"),
        };
        assert_eq!(key_of(&body), key_of(first));
    }

    #[test]
    fn what_is_no_message_goes_nowhere() {
        for body in ["", "3", "[]", "not JSON"] {
            assert_eq!(of(body), None, "{body}");
        }
    }
}
