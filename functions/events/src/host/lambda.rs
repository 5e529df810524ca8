//! AWS Lambda: a Function URL, or whatever else invokes the function with a notification.
//!
//! Owns: telling the two apart, and the two kinds of answer. Invariant: who calls a URL gets a status, and nobody without a signature is let in
//! unless AWS has checked who they are; who invokes the function itself gets an error where anything is left to do, so that Lambda tries
//! again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{BODY_BYTES_MAX, Door, Failure};
use crate::auth::Presented;
use crate::handler::{Accepted, Refused};

/// Handles one invocation.
pub async fn handle(door: &Door, payload: Value) -> Result<Value, Failure> {
    if payload["requestContext"]["http"].is_object() {
        return Ok(respond(by_url(door, &payload).await));
    }
    let accepted = door.take_trusted(payload.to_string().as_bytes()).await?;
    Ok(json!(accepted))
}

async fn by_url(door: &Door, request: &Value) -> Result<Accepted, Failure> {
    let text = request["body"].as_str().unwrap_or_default();
    let body = if request["isBase64Encoded"] == true {
        let decoded = STANDARD.decode(text);
        decoded.map_err(|_| Refused::Unreadable("the body is not the Base64 it is said to be".to_owned()))?
    } else {
        text.as_bytes().to_vec()
    };
    if body.len() > BODY_BYTES_MAX {
        let message = format!("the body is longer than {BODY_BYTES_MAX} bytes");
        return Err(Refused::Unreadable(message).into());
    }
    let is_known_to_aws = request["requestContext"]["authorizer"]["iam"].is_object();
    if is_known_to_aws {
        return door.take_trusted(&body).await;
    }
    let header = |name: &str| request["headers"][name].as_str();
    door.take(&Presented::of(header), &body).await
}

fn respond(taken: Result<Accepted, Failure>) -> Value {
    let (status, body) = match taken {
        Ok(accepted) => (200, json!(accepted)),
        Err(failure) => (failure.status(), failure.body()),
    };
    json!({
        "statusCode": status,
        "headers": { "content-type": "application/json" },
        "body": body.to_string(),
        "isBase64Encoded": false,
    })
}
