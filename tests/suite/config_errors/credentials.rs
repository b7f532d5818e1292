//! Credentials of the store and the broker, the key of the spool, and credentials of systemd.

use super::Folder;
use kasacam::config::{self, StoreCredentials, Surroundings};
use kasacam::domain::time::Utc;
use std::fs;

#[test]
fn credentials_that_others_can_read_are_refused() {
    let folder = Folder::new();
    folder.mode("storage.toml", 0o644);
    folder.is_reported("upload.credentials", "storage.toml", "chmod 600");
}

#[test]
fn a_missing_credentials_file_is_a_warning() {
    let folder = Folder::new();
    fs::remove_file(folder.path("storage.toml")).unwrap();
    let config = folder.load().unwrap();
    let told = config::warnings(&config, Utc::parse("2026-11-26T12:00:00Z").unwrap());
    let told = told.iter().find(|it| it.key == "upload.credentials").unwrap();
    assert!(told.warning.contains("storage.toml yet: uploads wait for it"), "{}", told.warning);
}

#[test]
fn credentials_are_a_file_a_provider_or_grants() {
    let with = |value: &str| {
        Folder::new().agent("credentials = \"storage.toml\"", &format!("credentials = {value}"))
    };
    for value in ["\"storage.toml\"", "{ file = \"storage.toml\" }"] {
        let folder = with(value);
        let file = StoreCredentials::File(folder.path("storage.toml"));
        assert_eq!(folder.load().unwrap().upload.credentials, file, "{value}");
    }
    assert_eq!(with("{ grant = true }").load().unwrap().upload.credentials, StoreCredentials::Grant);
    let folder =
        with("{ iot = \"https://ID.credentials.iot.eu-west-1.amazonaws.com/role-aliases/cam/credentials\" }");
    let config = folder.load().unwrap();
    let StoreCredentials::Iot(provider) = config.upload.credentials else { panic!("{config:?}") };
    assert_eq!((provider.host.as_str(), provider.port), ("id.credentials.iot.eu-west-1.amazonaws.com", 443));
    assert_eq!(
        (provider.path.as_str(), provider.thing.as_str()),
        ("/role-aliases/cam/credentials", "cam-0001")
    );
    assert_eq!((provider.cert, provider.key), (folder.path("device.pem"), folder.path("device.key")));
    for (value, what) in [
        ("{ grant = false }", "leaves no credentials"),
        ("{}", "exactly one of file, iot, grant"),
        ("{ grant = true, file = \"storage.toml\" }", "exactly one of file, iot, grant"),
        ("{ grants = true }", "unknown key"),
        ("{ grant = \"yes\" }", "must be true or false"),
        ("{ iot = \"http://host/role-aliases/cam/credentials\" }", "must begin with https://"),
        ("{ iot = \"https://host\" }", "has no path"),
        ("5", "must be a table such as"),
    ] {
        let folder = with(value);
        let problem = folder.problem();
        assert!(problem.key.starts_with("upload.credentials"), "{problem}");
        assert!(problem.to_string().contains(what), "{problem} does not say {what:?}");
    }
}

#[test]
fn credentials_are_validated_without_being_quoted() {
    for text in [
        "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = \"hunter2",
        "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = hunter2\n",
        "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = \"hunter2 \"\n",
        "access_key_id = \"AKIDEXAMPLE\"\n",
        "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = \"hunter2\"\nhunter2 = 1\n",
        "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = [\"hunter2\"]\n",
    ] {
        let folder = Folder::new();
        folder.secret("storage.toml", text);
        let problem = folder.problem();
        assert!(problem.file.ends_with("storage.toml"), "{problem}");
        let told = format!("{problem} {problem:?}");
        assert!(!told.contains("hunter2") && !told.contains("AKIDEXAMPLE"), "{told}");
    }
}

#[test]
fn a_user_name_may_have_a_protected_password() {
    let with = |more: &str| Folder::new().agent("[mqtt]\n", &format!("[mqtt]\n{more}\n"));
    assert_eq!(Folder::new().load().unwrap().mqtt.login, None);
    let login = with("username = \"camera\"").load().unwrap().mqtt.login.unwrap();
    assert_eq!((login.username.as_str(), login.password), ("camera", None));

    let both = "username = \"camera\"\npassword = \"password\"";
    let folder = with(both);
    folder.secret("password", "s3cr3t\n");
    assert_eq!(folder.load().unwrap().mqtt.login.unwrap().password, Some(folder.path("password")));
    folder.mode("password", 0o644);
    folder.is_reported("mqtt.password", "password", "chmod 600");
    folder.secret("password", "\n");
    folder.is_reported("mqtt.password", "password", "is empty");
    fs::remove_file(folder.path("password")).unwrap();
    folder.is_reported("mqtt.password", "password", "cannot be read");

    let folder = with("password = \"password\"");
    folder.secret("password", "s3cr3t\n");
    folder.is_reported("mqtt.password", "password", "without a user name");
    assert!(!folder.problem().to_string().contains("s3cr3t"));
    let long = format!("username = \"{}\"", "x".repeat(257));
    with(&long).is_reported("mqtt.username", "username", "1 to 256 characters");
}

fn with_spool(keys: &str) -> Folder {
    Folder::with("spool", keys)
}

#[test]
fn a_spool_is_encrypted_with_a_key_of_32_bytes_that_is_never_shown() {
    let folder = with_spool("encrypt = true\nkey = \"spool.key\"");
    folder.secret("spool.key", "0123456789abcdef0123456789abcdef");
    let config = folder.load().unwrap();
    assert!(config.spool.encrypt);
    assert_eq!(config.spool.key.as_ref().map(|key| &key.0), Some(b"0123456789abcdef0123456789abcdef"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("48, 49, 50"), "{shown}");

    let reading = with_spool("key = \"spool.key\"");
    reading.secret("spool.key", "0123456789abcdef0123456789abcdef");
    let reading = reading.load().unwrap();
    assert!(!reading.spool.encrypt && reading.spool.key == config.spool.key);
    let (_, restart) = config::reload_difference(&config, &reading);
    assert_eq!(
        restart.iter().filter(|key| key.starts_with("spool.")).collect::<Vec<_>>(),
        [&"spool.encrypt"]
    );
    let taken = config::with_reloadable(&config, reading);
    assert_eq!((taken.spool.encrypt, &taken.spool.key), (true, &config.spool.key));
}

#[test]
fn an_invalid_spool_key_is_reported_and_not_quoted() {
    with_spool("encrypt = true").is_reported("spool.key", "encrypt = true", "needs a key");
    with_spool("encrypt = \"yes\"").is_reported("spool.encrypt", "encrypt", "must be true or false");
    let folder = with_spool("encrypt = true\nkey = \"spool.key\"");
    folder.is_reported("spool.key", "spool.key", "no such file");
    for (text, what) in [
        ("", "contains 0 bytes, but a key has 32"),
        ("hush-hush-hush-hush-hush-hush-hu\n", "contains 33 bytes"),
        ("6875736868757368687573686875736868757368687573686875736868757368", "32 random bytes, not text"),
        ("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh", "one byte 32 times"),
    ] {
        folder.secret("spool.key", text);
        folder.is_reported("spool.key", "spool.key", what);
        let told = folder.problem().to_string();
        assert!(!told.contains("hush") && !told.contains("hhhh") && !told.contains("6875"), "{told}");
    }
    folder.secret("spool.key", "0123456789abcdef0123456789abcdef");
    folder.mode("spool.key", 0o640);
    folder.is_reported("spool.key", "spool.key", "chmod 600");
}

#[test]
fn a_spool_key_may_be_a_credential_of_systemd() {
    let folder = with_spool("encrypt = true\nkey = \"$CREDENTIALS_DIRECTORY/spool.key\"");
    folder.is_reported("spool.key", "CREDENTIALS_DIRECTORY", "$CREDENTIALS_DIRECTORY is not set");
    let credentials = folder.path("credentials");
    fs::create_dir(&credentials).unwrap();
    folder.secret("credentials/spool.key", "0123456789abcdef0123456789abcdef");
    // Its access list is shown as the bits of the group.
    folder.mode("credentials/spool.key", 0o440);
    let around = Surroundings { credentials_directory: Some(credentials), ..folder.around() };
    let config = config::load_in(&folder.path("agent.toml"), &around).unwrap();
    assert!(config.spool.key.is_some());
}

#[test]
fn systemd_credentials_are_found() {
    let folder = Folder::new().agent("\"device.key\"", "\"$CREDENTIALS_DIRECTORY/device.key\"");
    folder.is_reported("mqtt.key", "CREDENTIALS", "LoadCredential=");

    let around =
        Surroundings { credentials_directory: Some(folder.dir.path().to_owned()), ..folder.around() };
    let config = config::load_in(&folder.path("agent.toml"), &around).unwrap();
    assert_eq!(config.mqtt.key, folder.path("device.key"));

    // The mask of systemd's access list is shown as the group's bits.
    folder.mode("device.key", 0o440);
    assert!(config::load_in(&folder.path("agent.toml"), &around).is_ok());
    folder.mode("device.key", 0o444);
    assert!(config::load_in(&folder.path("agent.toml"), &around).is_err());
}
