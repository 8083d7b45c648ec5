//! Tests: tests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Template;

fn container() -> Value {
    json!({
        "Id": "abc", "Name": "/web", "RestartCount": 0, "Ratio": 1.5,
        "State": {"Status": "running", "Running": true, "Pid": 1234, "ExitCode": 0},
        "Config": {
            "Labels": {"com.example.team": "quay", "b": "2"},
            "Env": ["PATH=/bin", "LANG=C"], "Cmd": null, "Volumes": {},
        },
        "Mounts": [{"Source": "/a", "Destination": "/b", "RW": true}, {"Source": "/c", "Destination": "/d", "RW": false}],
        "NetworkSettings": {
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": null},
            "Networks": {"bridge": {"IPAddress": "10.1.0.2"}},
        },
    })
}

fn render(text: &str) -> Result<String, String> {
    Template::parse(text).and_then(|t| t.render(&container())).map_err(|e| e.to_string())
}

#[test]
fn renders_what_go_renders() {
    let cases = [
        ("", ""),
        ("plain", "plain"),
        ("{{.State.Status}}", "running"),
        ("{{ .State.Pid }}/{{.State.Running}}", "1234/true"),
        ("{{.ID}}", "abc"),
        ("{{json .State}}", r#"{"Status":"running","Running":true,"Pid":1234,"ExitCode":0}"#),
        ("{{json .Config.Cmd}}", "null"),
        ("{{.Config.Cmd}}", "<no value>"),
        ("{{.Config.Env}}", "[PATH=/bin LANG=C]"),
        ("{{.Config.Labels}}", "map[b:2 com.example.team:quay]"),
        ("{{.Config.Labels.nope}}", "<no value>"),
        ("{{index .Config.Labels \"com.example.team\"}}", "quay"),
        ("{{index .Config.Labels \"nope\"}}|", "|"),
        ("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "8080"),
        ("{{(index .Mounts 1).Source}}", "/c"),
        ("{{range .Mounts}}{{.Source}}:{{.Destination}} {{end}}", "/a:/b /c:/d "),
        ("{{range $i, $m := .Mounts}}{{if $i}},{{end}}{{$i}}={{$m.Source}}{{end}}", "0=/a,1=/c"),
        ("{{range $m := .Mounts}}{{$m.Source}}{{$.Name}}{{end}}", "/a/web/c/web"),
        ("{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.IPAddress}}{{end}}", "bridge 10.1.0.2"),
        ("{{range .Config.Volumes}}x{{else}}none{{end}}", "none"),
        ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{range .Config.Env}}{{if eq . \"LANG=C\"}}{{break}}{{end}}{{.}}{{end}}", "PATH=/bin"),
        ("{{range .Config.Env}}{{if eq . \"PATH=/bin\"}}{{continue}}{{end}}{{.}}{{end}}", "LANG=C"),
        ("{{if .State.Running}}yes{{else}}no{{end}}", "yes"),
        ("{{if .State.ExitCode}}a{{else if .State.Running}}b{{else}}c{{end}}", "b"),
        ("{{if .State.Health}}h{{else}}none{{end}}", "none"),
        ("{{if not .State.Health}}none{{end}}", "none"),
        ("{{with .State}}{{.Status}}{{end}}{{with .Config.Cmd}}x{{else}}-{{end}}", "running-"),
        ("{{with $s := .State}}{{$s.Pid}}{{end}}", "1234"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{.Name | upper | printf \"%s-%d\" \"a\"}}", "a-%!d(string=/WEB)"),
        (
            "{{printf \"%-6s|%5d|%05d|%q|%v|%x|%.2f|%%\" .Id 42 42 \"a\\\"b\" true 255 .Ratio}}",
            "abc   |   42|00042|\"a\\\"b\"|true|ff|1.50|%",
        ),
        ("{{printf \"%d\"}}{{printf \"a\" 1}}", "%!d(MISSING)a%!(EXTRA int=1)"),
        ("{{printf \"%s\" .Config.Env}}", "[PATH=/bin LANG=C]"),
        ("{{join .Config.Env \", \"}}", "PATH=/bin, LANG=C"),
        ("{{json (split \"a,b\" \",\")}}", r#"["a","b"]"#),
        ("{{title \"hello quay\"}} {{lower \"AbC\"}} {{upper \"x\"}}", "Hello Quay abc X"),
        ("{{pad \"x\" 1 2}}|{{truncate \"abcdef\" 3}}|{{slice \"abcdef\" 1 3}}", " x  |abc|bc"),
        ("{{len .Mounts}} {{len .Name}} {{len .Config.Cmd}}", "2 4 0"),
        (
            "{{eq .State.Status \"a\" \"running\"}} {{ne 1 2}} {{lt 1 2}} {{ge 2 2}} {{gt \"b\" \"a\"}} {{le 3 2}}",
            "true true true true true false",
        ),
        ("{{and 1 0}} {{and true \"x\"}} {{or 0 \"y\"}} {{or false 0}} {{not true}}", "0 x y 0 false"),
        ("{{or .State.Health \"none\"}}", "none"),
        ("{{print 1 2 \"a\" \"b\" 3}}{{println \"a\" 1}}", "1 2ab3a 1\n"),
        ("a {{- 1 -}}  b {{/* c */}} c {{- /* d */ -}} d", "a1b  cd"),
        (
            "{{`raw \\n`}} {{\"tab\\tx\\u00e9\"}} {{'a'}} {{0x10}} {{-3}} {{1.5e3}}",
            "raw \\n tab\txé 97 16 -3 1500",
        ),
        ("{{html \"<a>\"}} {{urlquery \"a b&c\"}}", "&lt;a&gt; a+b%26c"),
        ("{{.Ratio}} {{true}} {{json .Name}}", "1.5 true \"/web\""),
        ("{{json .Mounts | printf \"%.5s\"}}", "[{\"So"),
    ];
    for (text, expected) in cases {
        assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn refuses_with_place_and_reason() {
    let cases = [
        ("{{.Nope}}", "no field Nope; there are Id, Name"),
        ("{{.State.Health.Status}}", "no field Health"),
        ("{{.Name.First}}", "string has no field First"),
        ("{{.Name", "unclosed action"),
        ("{{if .Name}}x", "{{if}} without {{end}}"),
        ("x{{end}}", "without an opening action"),
        ("{{nope .Name}}", "function \"nope\" is not defined"),
        ("{{$x}}", "undefined variable $x"),
        ("{{$x = 1}}", "undefined variable $x"),
        ("{{range $m := .Mounts}}{{end}}{{$m}}", "undefined variable $m"),
        ("{{}}", "missing value"),
        ("{{\"abc}}", "unterminated quoted string"),
        ("{{.Name .Id}}", "only functions take arguments"),
        ("{{index .Mounts 9}}", "index out of range: 9 of 2"),
        ("{{lt \"a\" 1}}", "incompatible types"),
        ("{{upper 1}}", "expected a string, found int"),
        ("{{len}}", "wrong number of arguments"),
        ("{{define \"x\"}}", "not supported"),
        ("{{break}}", "outside"),
        ("{{/* x", "unclosed comment"),
        ("{{(len .Name}}", "unclosed parenthesis"),
        ("{{if 1}}{{else}}{{else}}{{end}}", "a second {{else}}"),
        ("{{.Label \"x\"}}", "lists only"),
        ("{{range .Name}}{{end}}", "range cannot walk string"),
        ("{{#}}", "unexpected '#'"),
    ];
    for (text, expected) in cases {
        let error = render(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    let deep = format!("{{{{{}}}}}", "(".repeat(100_000));
    assert!(render(&deep).expect_err("deep").contains("nested too deeply"));
    assert_eq!(render("abc {{.Nope.X}}").expect_err("a place")[..20], *"template, column 7: ");
}

#[test]
fn rows_have_labels_and_headers_pass_through_functions() {
    let labels = BTreeMap::from([("com.example.team".to_owned(), "quay".to_owned())]);
    let row = Template::parse("{{.ID}} {{.Label \"com.example.team\"}} {{.Label \"x\"}}.").expect("valid");
    assert_eq!(row.render_row(&json!({"ID": "1"}), &labels).as_deref(), Ok("1 quay ."));
    let header = Template::parse(
        "{{upper .Names}}\t{{.ID | truncate 3}}\t{{.Label \"com.x.team\"}}\t{{truncate .ID 3}}",
    );
    let titles = json!({"ID": "CONTAINER ID", "Names": "NAMES"});
    assert_eq!(
        header.expect("valid").render_header(&titles).as_deref(),
        Ok("NAMES\tCONTAINER ID\tteam\tCONTAINER ID")
    );
}

#[test]
fn knows_which_fields_are_read() {
    let template = Template::parse("{{if .A}}{{json (lower .Size)}}{{end}}").expect("valid");
    assert!(template.reads_field("Size") && template.reads_field("A") && !template.reads_field("B"));
}

/// Whatever is typed is parsed and executed, or refused; nothing panics.
#[test]
fn no_text_makes_it_panic() {
    let pieces = [
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        ".",
        ".State",
        "$",
        "$x",
        ":=",
        "=",
        "|",
        "(",
        ")",
        ",",
        "\"",
        "`",
        "'",
        "\\",
        "é",
        "if",
        "range",
        "else",
        "end",
        "with",
        "1",
        "-1",
        "0x",
        "1e",
        "printf",
        "index",
        "slice",
        "json",
        "%*d",
        "%99999999s",
        "/*",
        "*/",
        "break",
        "é\"",
        "\\u12",
        "nil",
        "truncate",
        "-9223372036854775808",
        "pad",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..30_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push_str(pieces[usize::try_from(state % pieces.len() as u64).expect("small")]);
        }
        let _ = render(&text);
        let _ = render(&format!("{{{{{text}}}}}"));
    }
}
