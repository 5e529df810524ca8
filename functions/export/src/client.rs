//! The API asked from elsewhere: a service of `ferry serve`, of Lambda, or of anybody who speaks the original's protocol.
//!
//! Owns: signed requests and reading answers. Does not own: what the actions do. Invariant: a manifest goes to the endpoint and nowhere else;
//! over plain HTTP only to this machine itself, since a manifest holds a password.

use ferry_cloud::Credentials;
use ferry_cloud::exchange::exchange;
use ferry_transfer::{Clock as _, Error, ErrorKind, Result, SystemClock};
use http::Uri;

use crate::api::{HttpRequest, encode, xml::unescape};
use crate::auth::sign;
use crate::service::Validity;

/// A service elsewhere.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Uri,
    keys: Credentials,
}

/// The elements of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered(String);

impl Answered {
    /// The text of the first element of that name.
    pub fn text(&self, name: &str) -> Option<String> {
        let (_, rest) = self.0.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| unescape(text))
    }

    /// The members of its one list.
    pub fn members(&self) -> Vec<Self> {
        let pieces = self.0.split("<member>").skip(1);
        pieces
            .filter_map(|piece| piece.split_once("</member>"))
            .map(|(text, _)| Self(text.to_owned()))
            .collect()
    }
}

impl Client {
    /// At an endpoint, `https://HOST/PATH`, signing with these keys.
    pub fn new(endpoint: &str, keys: Credentials) -> Result<Self> {
        let misnamed =
            |why: &str| Error::new(ErrorKind::Configuration, format!("--endpoint-url {endpoint}: {why}"));
        let uri: Uri = endpoint.parse().map_err(|_| misnamed("this is no URL"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_here => {}
            Some("http") => {
                return Err(misnamed(
                    "a manifest holds a password, so it travels over https only; http is for this machine itself",
                ));
            }
            _ => return Err(misnamed("it begins with neither https:// nor http://")),
        }
        Ok(Self { endpoint: uri, keys })
    }

    /// `CreateJob`.
    pub async fn create(&self, manifest: &str, validity: Validity) -> Result<Answered> {
        let only = if validity == Validity::CheckOnly { "true" } else { "false" };
        self.ask("CreateJob", &[("JobType", "Export"), ("ValidateOnly", only), ("Manifest", manifest)]).await
    }

    /// `UpdateJob`.
    pub async fn update(&self, job: &str, manifest: &str) -> Result<Answered> {
        let more = [("JobId", job), ("JobType", "Export"), ("ValidateOnly", "false"), ("Manifest", manifest)];
        self.ask("UpdateJob", &more).await
    }

    /// `CancelJob`.
    pub async fn cancel(&self, job: &str) -> Result<Answered> {
        self.ask("CancelJob", &[("JobId", job)]).await
    }

    /// `GetStatus`.
    pub async fn status(&self, job: &str) -> Result<Answered> {
        self.ask("GetStatus", &[("JobId", job)]).await
    }

    /// `ListJobs`.
    pub async fn list(&self, most: usize, marker: Option<&str>) -> Result<Answered> {
        let most = most.to_string();
        let mut more = vec![("MaxJobs", most.as_str())];
        more.extend(marker.map(|marker| ("Marker", marker)));
        self.ask("ListJobs", &more).await
    }

    async fn ask(&self, action: &'static str, parameters: &[(&str, &str)]) -> Result<Answered> {
        let mut form = format!("Action={action}&Version=2010-06-01");
        for (name, value) in parameters {
            form.push_str(&format!("&{name}={}", encode(value)));
        }
        let failed = |kind, message: &str| {
            Error::new(kind, message).in_operation(action).at_store(self.endpoint.to_string())
        };
        let mut request = HttpRequest::post(self.endpoint.path(), &form);
        let host = self.endpoint.authority().map_or("", http::uri::Authority::as_str);
        request.set_header("host", host);
        request.set_header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        sign(&mut request, &self.keys, SystemClock.now());
        let mut sent = http::Request::post(&self.endpoint);
        for (name, value) in &request.headers {
            sent = sent.header(name, value);
        }
        let sent = sent.body(request.body).map_err(|error| {
            failed(ErrorKind::InvalidInput, "the request cannot be made").caused_by(error)
        })?;
        let answer = Box::pin(exchange(sent))
            .await
            .map_err(|cause| failed(ErrorKind::Transient, "there is no answer").caused_by(cause))?;
        let answered = Answered(String::from_utf8_lossy(&answer.body).into_owned());
        if answer.status == 200 {
            return Ok(answered);
        }
        let code = answered.text("Code");
        let message = answered.text("Message").unwrap_or_else(|| format!("it answered {}", answer.status));
        let kind = match answer.status {
            403 => ErrorKind::PermissionDenied,
            500.. => ErrorKind::Transient,
            _ => ErrorKind::InvalidInput,
        };
        let error = failed(kind, &message).with_status(answer.status);
        Err(match code {
            Some(code) => error.with_code(&code),
            None => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Credentials {
        Credentials {
            access_key_id: "A".into(),
            secret_access_key: "s".into(),
            session_token: None,
            expires: None,
        }
    }

    #[test]
    fn a_password_travels_encrypted_or_not_at_all() {
        for good in [
            "https://x.lambda-url.eu-west-1.on.aws/",
            "http://127.0.0.1:8787",
            "http://[::1]:1/",
            "http://localhost:1",
        ] {
            assert!(Client::new(good, keys()).is_ok(), "{good}");
        }
        for bad in ["http://10.0.0.1/", "http://station.example/", "ftp://x/", "station"] {
            assert!(Client::new(bad, keys()).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_are_read_back_as_they_were_written() {
        let answer = Answered(
            "<A>&lt;&amp;&quot;&#13;x&gt;</A><Jobs><member><B>1</B></member><member><B>2</B></member></Jobs>"
                .into(),
        );
        assert_eq!(answer.text("A").as_deref(), Some("<&\"\rx>"));
        assert_eq!(answer.text("C"), None);
        let members: Vec<_> = answer.members().iter().map(|member| member.text("B")).collect();
        assert_eq!(members, [Some("1".to_owned()), Some("2".to_owned())]);
    }
}
