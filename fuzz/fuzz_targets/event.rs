//! Whatever comes off a queue or out of a webhook is read without a panic, and no event of it is without a key.

#![no_main]

use ferry_transfer::event;
use ferry_transfer::job::{Incoming, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(notification) = event::parse(text) {
        for job in notification.jobs() {
            // What is sent on says the same again.
            let key = job.key.clone();
            let sent = Message::Object(job).to_json();
            match Message::parse(&sent) {
                Ok(Message::Object(read)) => assert_eq!(read.key, key),
                other => panic!("{other:?}"),
            }
        }
    }
    let _incoming = Incoming::parse(text);
});
