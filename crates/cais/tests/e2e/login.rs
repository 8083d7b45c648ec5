//! `cais login` and `logout`: against a real registry, one with a token service, and with skopeo and podman as
//! readers of what was written.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use cais_test::fake_registry::{FakeRegistry, Login};
use cais_test::process::{Finished, Invocation};
use cais_test::pty::Terminal;
use cais_test::registry::{Doors, PASSWORD, Registry, USER};
use cais_test::{Cais, Image, Layer, e2e_empty, skip};
use serde_json::{Value, json};

fn image() -> Image {
    Image::new().layer(Layer::new().file("a", "b"))
}

fn real() -> Option<Registry> {
    Registry::start(&Doors { password: true, ..Doors::default() })
}

/// A registry whose token service wants `me` with `pw word`.
fn fake() -> FakeRegistry {
    let registry = FakeRegistry::start(Login::Token(Some(("me".to_owned(), "pw word".to_owned()))));
    registry.add("p", "v1", &image().build());
    registry
}

fn login(cais: &Cais, registry: &str, user: &str, password: &str) -> Finished {
    cais.cmd("login --password-stdin -u").arg(user).arg(registry).stdin(format!("{password}\n")).output()
}

/// Where podman keeps root's logins without XDG_RUNTIME_DIR.
fn usual_file() -> PathBuf {
    "/run/containers/0/auth.json".into()
}

fn read(path: impl Into<PathBuf>) -> Value {
    let path = path.into();
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn a_login_lets_one_pull_and_a_logout_does_not() {
    e2e_empty(|cais| {
        let Some(registry) = real() else { return };
        registry.push("p", "v1", &image().build());
        let host = registry.address();
        let name = format!("{host}/p:v1");
        cais.cmd("pull -q").arg(&name).output().code(1).one_clear_error().says("needs a login");
        cais.cmd("login --get-login").arg(&host).output().code(1).one_clear_error().says("not logged in");

        let refused = login(cais, &host, USER, "hunter2").code(1).one_clear_error();
        assert!(refused.stderr_text().contains("does not accept"), "{refused}");
        assert!(!refused.stderr_text().contains("hunter2"), "{refused}");
        assert!(!usual_file().exists(), "nothing is kept that was not verified");

        let done = login(cais, &host, USER, PASSWORD).code(0);
        assert_eq!((done.stdout_text().as_str(), done.stderr_text().as_str()), ("Login Succeeded", ""));
        assert_eq!(fs::metadata(usual_file()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(cais.cmd("login --get-login").arg(&host).ok(), USER);
        cais.cmd("pull -q").arg(&name).ok();
        // Without user and password the login that is there is tried.
        let again = cais.cmd("login").arg(&host).output().code(0);
        assert!(again.stderr_text().contains("existing credentials"), "{again}");

        let out = cais.cmd("logout").arg(&host).ok();
        assert_eq!(out, format!("Removed login credentials for {host}"));
        assert_eq!(cais.cmd("logout").arg(&host).ok(), format!("Not logged in to {host}"));
        cais.cmd("pull -q").arg(&name).output().code(1).one_clear_error();
    });
}

#[test]
fn token_services_are_asked() {
    e2e_empty(|cais| {
        let registry = fake();
        let host = registry.address();
        login(cais, &host, "me", "wrong").code(1).one_clear_error();
        assert!(!usual_file().exists());
        login(cais, &host, "me", "pw word").code(0);
        let asked = registry.take_requests();
        assert!(asked.iter().any(|line| line.contains("offline_token=true")), "{asked:?}");
        cais.cmd("pull -q").arg(format!("{host}/p:v1")).ok();
    });
}

#[test]
fn identity_tokens_are_kept_in_place_of_passwords() {
    e2e_empty(|cais| {
        let registry = fake();
        registry.give_identity("an-identity");
        let host = registry.address();
        login(cais, &host, "me", "pw word").code(0);
        let entry = &read(usual_file())["auths"][&host];
        assert_eq!(entry["identitytoken"], "an-identity");
        assert!(!fs::read_to_string(usual_file()).unwrap().contains("cHcgd29yZ"), "no password: {entry}");
        assert_eq!(cais.cmd("login --get-login").arg(&host).ok(), "<token>");
        cais.cmd("pull -q").arg(format!("{host}/p:v1")).ok();
    });
}

#[test]
fn the_place_is_podmans_or_dockers() {
    e2e_empty(|cais| {
        let registry = fake();
        let host = registry.address();
        let log_in = |line: &str| {
            cais.cmd("login --verbose -u me --password-stdin").args(line).arg(&host).stdin("pw word")
        };
        let docker = cais.folder().join("home/.docker/config.json");
        fs::create_dir_all(docker.parent().unwrap()).unwrap();
        fs::write(&docker, r#"{"psFormat":"x","auths":{"other.test":{"auth":"dTpw"}},"number":1}"#).unwrap();

        let told = log_in("").output().code(0);
        assert!(told.stderr_text().contains(usual_file().to_str().unwrap()), "{told}");
        let runtime = cais.folder().join("xdg");
        fs::create_dir(&runtime).unwrap();
        log_in("").env("XDG_RUNTIME_DIR", &runtime).ok();
        assert!(read(runtime.join("containers/auth.json"))["auths"][&host].is_object());
        let asked = cais.folder().join("new/dir/asked.json");
        log_in(&format!("--authfile {}", asked.display())).ok();
        assert_eq!(read(&asked)["auths"][&host]["auth"], "bWU6cHcgd29yZA==");
        let variable = cais.folder().join("variable.json");
        log_in("").env("REGISTRY_AUTH_FILE", &variable).ok();
        assert!(read(&variable)["auths"][&host].is_object());
        assert!(read(&docker)["auths"][&host].is_null());

        // Docker's directory was named: its file, whose other keys stay; the older login must not win any more.
        log_in("").env("DOCKER_CONFIG", docker.parent().unwrap()).ok();
        let kept = fs::read_to_string(&docker).unwrap();
        assert!(
            kept.find("psFormat") < kept.find("auths") && kept.find("auths") < kept.find("number"),
            "{kept}"
        );
        assert_eq!(read(&docker)["auths"]["other.test"], json!({"auth": "dTpw"}));
        assert!(read(&docker)["auths"][&host].is_object());
        assert!(read(usual_file())["auths"][&host].is_null());
        // All files are forgotten.
        assert!(cais.ok("logout --all").contains("other.test"));
        assert_eq!(read(&docker)["auths"], json!({}));
        assert_eq!(read(&docker)["number"], 1);
    });
}

#[test]
fn links_and_modes_stay_safe() {
    e2e_empty(|cais| {
        let registry = fake();
        let real = cais.folder().join("real.json");
        fs::write(&real, "{}").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
        let link = cais.folder().join("link.json");
        symlink(&real, &link).unwrap();
        let line =
            format!("login -u me --password-stdin --authfile {} {}", link.display(), registry.address());
        cais.cmd(&line).stdin("pw word").ok();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(read(&real)["auths"][registry.address()].is_object());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
        // A file that is no file of logins is not touched.
        fs::write(&real, "not json").unwrap();
        cais.cmd(&line).stdin("pw word").output().code(1).one_clear_error().says("link.json");
        assert_eq!(fs::read_to_string(&real).unwrap(), "not json");
    });
}

/// A helper that keeps what it is given in files of a folder; it notes what it is called with.
fn install_helper(cais: &Cais) -> PathBuf {
    let vault = cais.folder().join("vault");
    fs::create_dir(&vault).unwrap();
    let program = vault.join("docker-credential-box");
    let script = format!(
        "#!/bin/sh\ncd {}\necho \"$@\" >> calls\ncase $1 in\nstore) cat > kept;;\n\
         get) read -r s; test \"$s\" = \"$(cat name 2>/dev/null)\" -a -e kept || {{ echo 'credentials not found in native keychain'; exit 1; }}; cat kept;;\n\
         erase) rm kept;;\nlist) if test -e kept; then echo \"{{\\\"$(cat name)\\\":\\\"x\\\"}}\"; else echo '{{}}'; fi;;\nesac\n",
        vault.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    vault
}

#[test]
fn helpers_keep_logins() {
    e2e_empty(|cais| {
        let registry = fake();
        let host = registry.address();
        let vault = install_helper(cais);
        fs::write(vault.join("name"), &host).unwrap();
        let docker = cais.folder().join("home/.docker/config.json");
        fs::create_dir_all(docker.parent().unwrap()).unwrap();
        fs::write(&docker, json!({"credsStore": "box"}).to_string()).unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", vault.display());
        let cmd = |line: &str| cais.cmd(line).arg(&host).env("PATH", &path);
        cmd("login -v -u me --password-stdin")
            .stdin("pw word")
            .output()
            .code(0)
            .says("docker-credential-box");
        assert_eq!(
            read(vault.join("kept")),
            json!({"ServerURL": host, "Username": "me", "Secret": "pw word"})
        );
        assert_eq!(fs::read_to_string(vault.join("calls")).unwrap(), "store\n", "nothing in arguments");
        assert_eq!(read(&docker), json!({"credsStore": "box", "auths": {host.as_str(): {}}}));
        assert_eq!(cmd("login --get-login").ok(), "me");
        cais.cmd("pull -q").arg(format!("{host}/p:v1")).env("PATH", &path).ok();
        cmd("logout").ok();
        assert!(!vault.join("kept").exists());
        assert_eq!(read(&docker), json!({"credsStore": "box", "auths": {}}));
        cmd("login -u me --password-stdin").stdin("pw word").output().code(0);
        cais.cmd("logout --all").env("PATH", &path).ok();
        assert!(!vault.join("kept").exists());
        // A helper that is not there is told, and no password is written anywhere instead.
        fs::write(&docker, json!({"credHelpers": {host.as_str(): "absent"}}).to_string()).unwrap();
        let refused = cmd("login -u me --password-stdin").stdin("pw word").output().code(1);
        refused.one_clear_error().says("docker-credential-absent");
        assert!(!usual_file().exists());
    });
}

#[test]
fn user_and_password_are_asked_for_on_a_terminal() {
    e2e_empty(|cais| {
        let registry = fake();
        let host = registry.address();
        cais.cmd("login")
            .arg(&host)
            .stdin("me\npw word\n")
            .output()
            .code(1)
            .one_clear_error()
            .says("terminal");
        let mut terminal = Terminal::start(&cais.cmd("login").arg(&host), 24, 80);
        terminal.expect("Username: ");
        terminal.send("me\r");
        terminal.expect("Password: ");
        terminal.send("pw wordx\x7f\r");
        terminal.expect("Login Succeeded");
        assert!(!terminal.screen().contains("pw word"), "{}", terminal.screen());
        assert_eq!(terminal.wait(), 0);
        assert_eq!(cais.cmd("login --get-login").arg(&host).ok(), "me");

        let mut terminal = Terminal::start(&cais.cmd("login -u me").arg(&host), 24, 80);
        terminal.expect("Password: ");
        terminal.send("\x03");
        assert_eq!(terminal.wait(), 1);
    });
}

#[test]
fn what_cannot_be_is_refused() {
    e2e_empty(|cais| {
        let one = |line: &str, text: &str| {
            cais.cmd(line).stdin("pw\n").output().code(1).one_clear_error().says(text);
        };
        one("login --password-stdin quay.test", "--username");
        one("login -u me --password-stdin -p x quay.test", "--password-stdin");
        one("login -u me --password-stdin team", "no registry");
        one("login -u '' --password-stdin quay.test", "empty");
        one("login --secret x quay.test", "--password-stdin");
        // Nobody listens on port 1.
        one("login -u me --password-stdin 127.0.0.1:1", "127.0.0.1:1");
        one("logout --all quay.test", "--all");
        let open = FakeRegistry::start(Login::Open);
        let warned = cais.cmd("login -u me -p x").arg(open.address()).output().code(0);
        assert!(warned.stderr_text().contains("warning: others on this machine"), "{warned}");
        // In the environment stands another one.
        let text = json!({"auths": {open.address(): {"auth": "dTpw"}}}).to_string();
        let shadowed =
            cais.cmd("login -u me -p x").arg(open.address()).env("DOCKER_AUTH_CONFIG", text).output();
        assert!(shadowed.code(0).stderr_text().contains("DOCKER_AUTH_CONFIG is used before"));
    });
}

#[test]
fn tls_is_as_asked_for() {
    e2e_empty(|cais| {
        let doors = Doors { tls_names: vec!["registry.test".to_owned()], password: true, port: 0 };
        let Some(registry) = Registry::start(&doors) else { return };
        fs::write("/etc/hosts", "127.0.0.1 localhost registry.test\n").unwrap();
        let host = format!("registry.test:{}", registry.port());
        let log_in = |line: &str| {
            let command = cais.cmd("login --password-stdin -u").arg(USER).args(line);
            command.arg(&host).stdin(PASSWORD).output()
        };
        log_in("").code(1).one_clear_error().says("certificate");
        log_in("--tls-verify=false").code(0);
        let folder = cais.folder().join("certs");
        fs::create_dir(&folder).unwrap();
        log_in(&format!("--cert-dir {}", folder.display())).code(1).one_clear_error().says("certificate");
        fs::copy(registry.ca(), folder.join("ca.crt")).unwrap();
        log_in(&format!("--cert-dir {}", folder.display())).code(0);
        fs::create_dir_all("/etc/containers").unwrap();
        let conf = format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n");
        fs::write("/etc/containers/registries.conf", conf).unwrap();
        log_in("").code(0);
        log_in("--tls-verify").code(1).one_clear_error().says("certificate");
    });
}

#[test]
fn skopeo_and_podman_read_what_was_written() {
    e2e_empty(|cais| {
        let Some(registry) = real() else { return };
        registry.push("p", "v1", &image().build());
        let host = registry.address();
        login(cais, &host, USER, PASSWORD).code(0);
        let file = usual_file();
        let foreign = |program: &str, line: &str| {
            Invocation::new(program, line).env("HOME", cais.folder()).env("REGISTRY_AUTH_FILE", &file)
        };
        let mut found = false;
        if PathBuf::from("/usr/bin/skopeo").exists() {
            found = true;
            let inspect =
                || foreign("skopeo", "inspect --tls-verify=false").arg(format!("docker://{host}/p:v1"));
            inspect().ok();
            cais.cmd("logout").arg(&host).ok();
            assert_ne!(inspect().output().status(), 0);
            // And the other way round.
            let line = format!("login --tls-verify=false -u {USER} --password-stdin {host}");
            foreign("skopeo", &line).stdin(PASSWORD).ok();
            assert_eq!(cais.cmd("login --get-login").arg(&host).ok(), USER);
            cais.cmd("pull -q").arg(format!("{host}/p:v1")).ok();
        }
        if PathBuf::from("/usr/bin/podman").exists() {
            found = true;
            login(cais, &host, USER, PASSWORD).code(0);
            assert_eq!(foreign("podman", "login --get-login").arg(&host).ok(), USER);
            foreign("podman", "logout").arg(&host).ok();
            cais.cmd("login --get-login").arg(&host).output().code(1);
        }
        if !found {
            skip("neither skopeo nor podman is installed");
        }
    });
}

#[test]
fn many_logins_at_once_are_all_kept() {
    e2e_empty(|cais| {
        let registries: Vec<FakeRegistry> = (0..6).map(|_| fake()).collect();
        let running: Vec<_> = registries
            .iter()
            .map(|registry| {
                let command = cais.cmd("login -u me --password-stdin").arg(registry.address());
                command.stdin("pw word").spawn()
            })
            .collect();
        for login in running {
            login.wait().code(0);
        }
        assert_eq!(read(usual_file())["auths"].as_object().unwrap().len(), 6);
    });
}
