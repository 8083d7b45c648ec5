//! `cais search` and `cais image tags`.

use std::fs;

use cais_test::fake_registry::{FakeRegistry, Login};
use cais_test::registry::{Doors, Registry};
use cais_test::{Cais, Image, Layer, e2e_empty};
use serde_json::{Value, json};

fn image() -> Image {
    Image::new().layer(Layer::new().file("a", "b"))
}

fn use_registries(text: &str) {
    fs::create_dir_all("/etc/containers").unwrap();
    fs::write("/etc/containers/registries.conf", text).unwrap();
}

/// A registry with an index of its own, as Docker Hub has.
fn with_index(word: &str) -> FakeRegistry {
    let registry = FakeRegistry::start(Login::Open);
    let results = json!({"results": [
        {"name": "team/web", "description": "Serves pages.\nAnd a lot more that nobody wants to read in a table", "star_count": 12, "is_official": false},
        {"name": "web", "description": "The web", "star_count": 300, "is_official": true},
        {"name": "Not A Name", "description": "x"},
    ]});
    registry.add_document(&format!("/v1/search?q={word}&n=25"), &results.to_string());
    registry
}

fn names(cais: &Cais, line: &str) -> Vec<String> {
    cais.cmd("search --format {{.Name}}").args(line).ok().lines().map(str::to_owned).collect()
}

#[test]
fn the_index_of_a_registry_is_asked() {
    e2e_empty(|cais| {
        let registry = with_index("web");
        let host = registry.address();
        let table = cais.ok(&format!("search {host}/web"));
        let mut lines = table.lines();
        let titles: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(titles, ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]);
        let first = lines.next().unwrap();
        assert!(first.starts_with(&format!("{host}/team/web ")), "{table}");
        assert!(first.contains("Serves pages. And a lot more") && first.contains('…'), "{table}");
        assert!(lines.next().unwrap().ends_with("[OK]"), "{table}");
        assert!(cais.ok(&format!("search --no-trunc {host}/web")).contains("to read in a table"));
        assert_eq!(names(cais, &format!("{host}/web")), [format!("{host}/team/web"), format!("{host}/web")]);
        assert_eq!(names(cais, &format!("--filter stars=100 {host}/web")), [format!("{host}/web")]);
        assert_eq!(names(cais, &format!("-f is-official=false {host}/web")), [format!("{host}/team/web")]);
        let line = cais.ok(&format!("search --format json -f is-official=true {host}/web"));
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (object["StarCount"].as_str(), object["IsOfficial"].as_str()),
            (Some("300"), Some("[OK]"))
        );
        cais.fails(1, &format!("search -f colour=red {host}/web")).one_clear_error().says("stars");
        cais.fails(1, &format!("search --limit 0 {host}/web")).one_clear_error();
    });
}

#[test]
fn the_catalog_is_read_where_there_is_no_index() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        for repository in ["team/one", "team/two", "other"] {
            registry.push(repository, "v1", &image().build());
        }
        registry.push("team/one", "v2", &image().build());
        let host = registry.address();
        let full = |names: &[&str]| names.iter().map(|name| format!("{host}/{name}")).collect::<Vec<_>>();
        assert_eq!(names(cais, &format!("{host}/team")), full(&["team/one", "team/two"]));
        assert_eq!(names(cais, &format!("--limit 1 {host}/team")), full(&["team/one"]));
        assert_eq!(names(cais, &format!("{host}/")).len(), 3);
        assert!(names(cais, &format!("{host}/nothing")).is_empty());

        assert_eq!(cais.ok(&format!("image tags {host}/team/one")), "v1\nv2");
        assert_eq!(cais.ok(&format!("image tags --limit 1 {host}/team/one")), "v1");
        let table = cais.ok(&format!("search --list-tags {host}/team/one"));
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let name = format!("{host}/team/one");
        assert_eq!(rows, [["NAME", "TAG"], [name.as_str(), "v1"], [name.as_str(), "v2"]]);
        cais.fails(1, &format!("image tags {host}/no/such")).one_clear_error().says("no/such");
        cais.fails(1, &format!("image tags {host}/team/one:v1")).one_clear_error().says("tag");
        cais.fails(1, &format!("search --list-tags -f stars=1 {host}/team/one")).one_clear_error();
    });
}

#[test]
fn words_are_looked_for_at_the_search_registries() {
    e2e_empty(|cais| {
        let (one, two) = (with_index("web"), with_index("web"));
        use_registries(&format!(
            "unqualified-search-registries = [\"{}\", \"{}\", \"127.0.0.1:1\"]\n[[registry]]\nlocation = \"127.0.0.1:1\"\nblocked = true\n",
            one.address(),
            two.address()
        ));
        let found = cais.cmd("search --format {{.Index}}/{{.Name}} web").output().code(0);
        assert_eq!(found.stdout_text().lines().count(), 4);
        assert!(found.stdout_text().starts_with(&format!("{0}/{0}/team/web", one.address())), "{found}");
        assert!(
            found.stderr_text().contains("warning:") && found.stderr_text().contains("blocked"),
            "{found}"
        );
        use_registries("unqualified-search-registries = [\"127.0.0.1:1\"]\n");
        cais.fails(1, "search web").one_clear_error().says("cannot search 127.0.0.1:1");
    });
}

#[test]
fn a_login_opens_the_catalog() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Basic("me".to_owned(), "pw".to_owned()));
        registry.add_document("/v2/_catalog?n=1000", r#"{"repositories":["secret/thing"]}"#);
        let host = registry.address();
        let denied = cais.cmd("search").arg(format!("{host}/thing")).output().code(1).one_clear_error();
        assert!(denied.stderr_text().contains("login"), "{denied}");
        cais.cmd("login -u me --password-stdin").arg(&host).stdin("pw").ok();
        assert_eq!(names(cais, &format!("{host}/thing")), [format!("{host}/secret/thing")]);
    });
}
