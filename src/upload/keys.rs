//! Keys of the store, checked before they are used.

use aws_credential_types::Credentials as Keys;

const MAX_KEY: usize = 256;
/// Tokens of AWS STS are about 1 KiB; most servers refuse a head of more than 8 KiB.
const MAX_TOKEN: usize = 6 * 1024;

/// Keys, if a signature can be made with them.
pub(super) fn keys(id: String, secret: String, token: Option<String>) -> Result<Keys, String> {
    check_value("access_key_id", &id, MAX_KEY)?;
    // These separate the parts of the header that contains the id.
    if id.contains(['/', ',', '=']) {
        return Err("access_key_id: has one of / , =".into());
    }
    check_value("secret_access_key", &secret, MAX_KEY)?;
    if let Some(token) = &token {
        check_value("session_token", token, MAX_TOKEN)?;
    }
    Ok(Keys::new(id, secret, token, None, "upload.credentials"))
}

/// Checks that the value is fit for an HTTP header.
fn check_value(key: &str, value: &str, max: usize) -> Result<(), String> {
    if value.is_empty() || value.len() > max {
        return Err(format!("{key}: must have 1 to {max} characters"));
    }
    if !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("{key}: has a space, a control character or one beyond ASCII"));
    }
    Ok(())
}
