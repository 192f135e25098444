//! `skycron check`: every kind of bad file, and what is said about it and where. Nothing is touched by any of it.

use crate::support::Project;

/// Two lines that every schedule needs; a case adds the third.
const HEAD: &str = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\n";

/// Checks a file, and compares its problems as `line:column code message`.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let project = Project::with_file(text);
    let ran = project.run(&["check", "--format", "json"]);
    let lines: Vec<_> = ran
        .objects()
        .iter()
        .map(|o| {
            format!("{}:{} {} {}", o["line"], o["column"], o["code"].as_str().unwrap(), o["message"].as_str().unwrap())
        })
        .collect();
    assert_eq!(lines, expected, "{text}");
    let errors = ran.objects().iter().any(|object| object["severity"] == "error");
    ran.code(if errors { 2 } else { 0 });
    assert_eq!(project.names(), ["schedules.toml"], "nothing is touched");
}

/// The same for a schedule with one more line, which is the fourth.
#[track_caller]
fn check_line(line: &str, expected: &[&str]) {
    check(&format!("{HEAD}{line}\n"), expected);
}

/// The same for a schedule that is due, with one more line, which is the fifth.
#[track_caller]
fn check_option(line: &str, expected: &[&str]) {
    check(&format!("{HEAD}cron_expression = \"0 9 * * *\"\n{line}\n"), expected);
}

/// The same for a file with these settings.
#[track_caller]
fn check_settings(text: &str, expected: &[&str]) {
    check(&format!("{text}\n{HEAD}cron_expression = \"0 9 * * *\"\n"), expected);
}

#[test]
fn syntax() {
    check("a = \n", &["1:5 syntax string values must be quoted, expected literal string"]);
    check("[[schedule]\nid = \"a\"\n", &["1:12 syntax unclosed array table, expected `]`"]);
    check(
        "id = \"unterminated\nx\n",
        &["1:19 syntax invalid basic string, expected `\"`", "2:2 syntax key with no value, expected `=`"],
    );
    check("instance = \"a\"\ninstance = \"b\"\n", &["2:1 syntax duplicate key"]);
    check("not toml at all", &["1:5 syntax key with no value, expected `=`"]);
    check_line("run_at = 2026-02-30T00:00:00Z", &["4:10 syntax invalid date, expected day between 01 and 28"]);
    check_line("run_at = 2026-13-01T00:00:00Z", &["4:10 syntax invalid date, expected month between 01 and 12"]);
    // A line that cannot be read does not hide what is wrong elsewhere, and what only follows from it is not told.
    check(
        &format!("{HEAD}cron_expression = \n{HEAD}jitter = 5\ncron_expression = \"* * * * *\"\n"),
        &[
            "4:19 syntax string values must be quoted, expected literal string",
            "6:6 duplicate_id the id \"a\" is taken by another schedule",
            "8:10 wrong_type `jitter` takes a duration such as \"90s\", \"5m\", \"24h\", and this is an integer",
            "9:19 too_frequent due at 00:00 and again at 00:01, 1m later; 5m is the least",
        ],
    );
    check(&HEAD.replace("\nid = ", "\nid "), &["2:4 syntax key with no value, expected `=`"]);
}

#[test]
fn templates() {
    let check_template = |template: &str, expected: &str| {
        let expected = if expected.is_empty() { vec![] } else { vec![expected] };
        check(
            &format!(
                "[secrets]\npin = {{ env = \"PIN\" }}\n{HEAD}cron_expression = \"0 9 * * *\"\nparameters = {{ a = [{template:?}] }}\n"
            ),
            &expected,
        );
    };
    let bad = |message: &str| format!("7:21 bad_template the template cannot be rendered: {message}");
    check_template("{{ scheduled_for | date('%Y-%m-%d') }} {{ previous }} {{ next }} {{ secrets.pin }}", "");
    check_template(
        "{{ scheduled_for | date('%Q') }}",
        &bad("invalid operation: \"%Q\" is not a date format; as in \"%Y-%m-%d %H:%M\""),
    );
    check_template(
        "{{ secrets.pim }}",
        &bad(
            "it speaks of something that is not there; there are scheduled_for, previous, next, schedule, occurrence and secrets",
        ),
    );
    check_option("title = \"{{ schedule }} of {{ scheduled_for | date('%d %B') }}\"", &[]);
    check_option(
        "totp_identifier = \"{{ schedule }}\"",
        &["5:19 bad_value a template ({{ … }}) is possible in `parameters` and `title` only"],
    );
    check_settings(
        "[secrets]\npin = {}\n\"a-b\" = { env = \"A\" }",
        &[
            "2:7 conflict `pin` takes exactly one of env, file and credential",
            "3:1 bad_value a secret's name has letters, digits and _ only",
        ],
    );
}

#[test]
fn channels() {
    const OPS: &str = "[notify.ops]\nwebhook = \"https://ops.example/h00k\"";
    check_settings(OPS, &[]);
    check_settings(
        "[notify.ops]\nwebhook = { env = \"OPS\" }\nping = { env = \"OPS\" }",
        &["1:9 conflict a channel has either a `webhook` or a `ping`"],
    );
    check_settings("[notify.ops]", &["1:9 conflict a channel has either a `webhook` or a `ping`"]);
    check_settings("[notify.ops]\nping = { }", &["2:8 conflict `ping` takes exactly one of env, file and credential"]);
    check_settings(
        "[notify.ops]\nping = \"http://ops.example/p\"\nbody = \"x\"",
        &["2:8 bad_value plain http would send it in the clear", "3:1 conflict a ping takes no `body`"],
    );
    check_settings(
        "[notify.ops]\nwebhook = \"ops.example\"",
        &["2:11 bad_value not an address: relative URL without a base"],
    );
    check_settings(&format!("{OPS}\non = [\"fialed\"]"), &["3:7 bad_value there is no alarm \"fialed\""]);
    check_settings(
        &format!("{OPS}\nevents = [\"failed\"]"),
        &["3:1 unknown_key a channel of [notify] has no key `events`"],
    );
    check_settings(&format!("{OPS}\nbody = '{{\"a\": {{{{ text | tojson }}}}}}'"), &[]);
    check_settings(
        &format!("{OPS}\nbody = '{{\"a\": \"{{{{ text }}}}\"}}'"),
        &["3:8 bad_template the template makes no JSON: expected `,` or `}` at line 1 column 11"],
    );
    check_settings(
        &format!("{OPS}\nbody = '{{{{ txt }}}}'"),
        &["3:8 bad_template the template cannot be rendered: it speaks of something that is not there"],
    );
    check_settings(
        &format!("{OPS}\nheaders = {{ \"a b\" = \"x\", X-A = \"{{{{ secrets.a }}}}\" }}"),
        &[
            "3:13 bad_value \"a b\" is not the name of a header",
            "3:32 bad_template the template cannot be rendered: it speaks of something that is not there",
        ],
    );
    check_settings(
        "[notify.\"a b\"]\nping = { env = \"A\" }",
        &[
            "1:9 bad_value the name of the channel has the character ' '; letters, digits, '_', '.' and '-' are possible",
        ],
    );
    check_settings(
        "notify = \"https://ops.example\"",
        &["1:10 wrong_type `notify` takes a table, and this is a string"],
    );
    // Who is told.
    check_option("notify = [\"ops\"]", &["5:11 bad_value there is no channel \"ops\""]);
    check_option("notify = \"ops\"", &["5:10 wrong_type `notify` takes an array of strings, and this is a string"]);
    check_option("late_after = \"5m\"", &["5:1 conflict `late_after` tells nobody"]);
    let told = |rest: &str| format!("{OPS}\n{HEAD}cron_expression = \"0 9 * * *\"\n{rest}\n");
    check(&told("notify = [\"ops\"]\nlate_after = \"5m\"\nfailures_in_a_row = 3\nno_success_for = \"26h\""), &[]);
    check(&told("notify = [\"ops\", \"ops\"]"), &["7:18 conflict ops is named twice"]);
    check(
        &told("notify = [\"ops\"]\nlate_after = \"5s\"\nfailures_in_a_row = 1"),
        &[
            "8:14 bad_value `late_after` is shorter than 10s",
            "9:21 bad_value `failures_in_a_row` is outside of 2 to 1000",
        ],
    );
}

#[test]
fn webhooks() {
    check_settings("[webhook]\npublic_url = \"https://hooks.example.com/skycron\"", &[]);
    check_settings("[webhook]\nlisten = \"127.0.0.1:0\"", &["1:2 missing_key [webhook] has no public_url"]);
    check_settings(
        "[webhook]\npublic_url = \"http://hooks.example.com\"\nlisten = \"localhost\"",
        &[
            "2:14 bad_value plain http would show what runs put out",
            "3:10 bad_value `listen` is not an address: \"localhost\"",
        ],
    );
    check_settings(
        "[webhook]\npublic_url = \"http://hooks.example.com:8766\"\nlisten = \"0.0.0.0:8766\"\nallow_plain_http = true",
        &[],
    );
}

#[test]
fn an_address_is_never_shown() {
    let file = "[notify.ops]\nwebhook = \"https://ops.example/h00k-9f3a\"\nheaders = { A = \"t0ken-77\" }\ncolour = 1\n\
                [notify.hc]\nping = \"ftp://hc.example/p1ng-77\"\n";
    for format in ["text", "json"] {
        let ran = Project::with_file(file).run(&["check", "--format", format]).code(2);
        ran.never_shows("h00k").never_shows("t0ken").never_shows("p1ng");
    }
}

#[test]
fn unknown_keys() {
    check_option("cron_expresion = \"0 9 * * *\"", &["5:1 unknown_key [[schedule]] has no key `cron_expresion`"]);
    check_option("colour = \"red\"", &["5:1 unknown_key [[schedule]] has no key `colour`"]);
    check_option("zone_rules = \"auto\"", &["5:1 unknown_key [[schedule]] has no key `zone_rules`"]);
    check_settings("workflow_id = \"wpid_1\"", &["1:1 unknown_key the file has no key `workflow_id`"]);
    check_settings("[schedules]", &["1:2 unknown_key the file has no key `schedules`"]);
    check_settings("[api]\nbase-url = \"https://api.skyvern.com\"", &["2:1 unknown_key [api] has no key `base-url`"]);
    check_settings("[api]\napi_key = { enw = \"X\" }", &["2:13 unknown_key api_key has no key `enw`"]);
    check_settings("[defaults]\nworkflow_id = \"wpid_1\"", &["2:1 unknown_key [defaults] has no key `workflow_id`"]);
    check_option("retry = { max_attempts = 3, dely = \"1m\" }", &["5:29 unknown_key retry has no key `dely`"]);
}

#[test]
fn what_is_not_there_yet_is_refused() {
    check_option(
        "cdp_connect_headers = {}",
        &["5:1 not_available `cdp_connect_headers` is not available in this version"],
    );
}

#[test]
fn wrong_types() {
    check_option("name = 1", &["5:8 wrong_type `name` takes a string, and this is an integer"]);
    check_option("enabled = \"true\"", &["5:11 wrong_type `enabled` takes true or false, and this is a string"]);
    check_option(
        "jitter = 5",
        &["5:10 wrong_type `jitter` takes a duration such as \"90s\", \"5m\", \"24h\", and this is an integer"],
    );
    check_option(
        "catch_up_window = \"5 fortnights\"",
        &["5:19 bad_value `catch_up_window` is not a duration: \"5 fortnights\""],
    );
    check_option("parameters = \"url\"", &["5:14 wrong_type `parameters` takes a table, and this is a string"]);
    check_option(
        "parameters = { at = 2026-11-02 }",
        &["5:21 wrong_type JSON, which the API takes, has no dates and times"],
    );
    check_option(
        "parameters = { n = 99999999999999999999 }",
        &["5:20 bad_value 99999999999999999999 does not fit into 64 bits"],
    );
    check_option("parameters = { x = nan }", &["5:20 bad_value JSON, which the API takes, has no number nan"]);
    check_option("file_ids = [1]", &["5:13 wrong_type `file_ids[0]` takes a string, and this is an integer"]);
    check_option(
        "proxy_location = 5",
        &["5:18 wrong_type `proxy_location` takes a string or a table, and this is an integer"],
    );
    check_option(
        "extra_http_headers = { a = 1 }",
        &["5:28 wrong_type `extra_http_headers.a` takes a string, and this is an integer"],
    );
    check_option(
        "max_screenshot_scrolls = -1",
        &["5:26 bad_value `max_screenshot_scrolls` takes a whole number of 0 or more, and this is -1"],
    );
    check("schedule = 5\n", &["1:12 wrong_type `schedule` takes an array of tables, and this is an integer"]);
    check("[schedule]\nid = \"a\"\n", &["1:1 wrong_type `schedule` takes an array of tables, and this is a table"]);
    check("schedule = [1]\n", &["1:13 wrong_type `schedule` takes tables, and this is an integer"]);
    check_settings("api = 5", &["1:7 wrong_type `api` takes a table, and this is an integer"]);
    check_settings(
        "[api]\napi_key = 5",
        &["2:11 wrong_type `api_key` takes a table that says where the key is, and this is an integer"],
    );
}

#[test]
fn schedules_that_lack_something() {
    check("", &["1:1 surprise the file has no schedules"]);
    check(
        "[[schedule]]\n",
        &[
            "1:1 missing_key the schedule has no id",
            "1:1 missing_key the schedule has no workflow_id",
            "1:1 missing_key nothing says when it is due",
        ],
    );
    check_line("", &["1:1 missing_key nothing says when it is due"]);
    check_line("interval_seconds = 3600", &["4:1 missing_key interval_seconds needs first_fire_at"]);
    check_line(
        "first_fire_at = 2026-11-02T00:00:00Z",
        &["1:1 missing_key nothing says when it is due", "4:1 conflict first_fire_at goes with interval_seconds"],
    );
    check_option("retry = { delay = \"1m\" }", &["5:1 missing_key `retry` has no max_attempts"]);
}

#[test]
fn keys_that_do_not_go_together() {
    check_option(
        "run_at = 2026-11-02T00:00:00Z",
        &["5:1 conflict exactly one of cron_expression, interval_seconds and run_at decides"],
    );
    check_option(
        "starts_at = 2026-11-02T00:00:00Z\nends_at = 2026-11-01T00:00:00Z",
        &["6:11 conflict ends_at is before starts_at"],
    );
    check_option(
        "retry = { max_attempts = 2, delay = \"2h\", max_delay = \"1h\" }",
        &["5:55 conflict `max_delay` is shorter than `delay`"],
    );
    check_settings(
        "[api]\napi_key = { env = \"A\", file = \"b\" }",
        &["2:11 conflict `api_key` takes exactly one of env, file and credential"],
    );
    check_settings("[api]\napi_key = {}", &["2:11 conflict `api_key` takes exactly one of env, file and credential"]);
    check_settings(
        "[api]\npoll_interval = \"2m\"\npoll_interval_max = \"1m\"",
        &["3:21 conflict `poll_interval_max` is shorter than `poll_interval`"],
    );
}

#[test]
fn ids() {
    check(
        &format!("{HEAD}cron_expression = \"0 9 * * *\"\n").repeat(3),
        &[
            "6:6 duplicate_id the id \"a\" is taken by another schedule",
            "10:6 duplicate_id the id \"a\" is taken by another schedule",
        ],
    );
    check(
        "[[schedule]]\nid = \"a b\"\nworkflow_id = \"w_1\"\nrun_at = 2026-11-02T00:00:00Z\n",
        &[
            "2:6 bad_value `id` has the character ' '; letters, digits, '_', '.' and '-' are possible",
            "3:15 bad_value `workflow_id` names one version of a workflow (w_…); give the permanent id, which begins with wpid_",
        ],
    );
    check(
        "[[schedule]]\nid = \"\"\nworkflow_id = \"\"\nrun_at = 2026-11-02T00:00:00Z\n",
        &[
            "2:6 bad_value `id` is empty",
            "3:15 bad_value `workflow_id` is not a permanent workflow id: it begins with wpid_, as in wpid_123456789",
        ],
    );
    check_settings(
        "instance = \"a/b\"",
        &["1:12 bad_value `instance` has the character '/'; letters, digits, '_', '.' and '-' are possible"],
    );
}

#[test]
fn zones() {
    check_option(
        "timezone = \"America/New_Yrok\"",
        &["5:12 unknown_zone the time zone `America/New_Yrok` is not known"],
    );
    check_option("timezone = \"EST5\"", &["5:12 unknown_zone the time zone `EST5` is not known"]);
    check_settings(
        "[defaults]\ntimezone = \"Europe/Berln\"",
        &["2:12 unknown_zone the time zone `Europe/Berln` is not known"],
    );
    check_settings(
        "zone_rules = \"newest\"",
        &["1:14 bad_value `zone_rules` takes \"auto\", \"system\" or \"bundled\", and this is \"newest\""],
    );
    // The tests have no zone files.
    check_settings("zone_rules = \"system\"", &["1:14 bad_value there are no zone files in /nowhere/zoneinfo"]);
}

#[test]
fn timetables() {
    check_line("cron_expression = \"0 22-2 * * *\"", &["4:22 bad_cron the range `22-2` in the hour runs backwards"]);
    check_line(
        "cron_expression = \"0 9 * * 1-8\"",
        &["4:30 bad_cron `8` is out of range: the day of week goes from 0 to 7"],
    );
    check_line(
        "cron_expression = '0 9 * *'",
        &["4:19 bad_cron 4 fields, and a cron expression has five: minute, hour, day of month, month, day of week"],
    );
    check_line(
        "cron_expression = \"0 \\u0039 * * 9\"",
        &["4:19 bad_cron `9` is out of range: the day of week goes from 0 to 7"],
    );
    check_line("cron_expression = \"\"", &["4:19 bad_cron the expression is empty"]);
    check_line(
        "cron_expression = \"0 0 30 2 *\"",
        &["4:24 bad_cron this is never due: no month of the expression has such a day"],
    );
    check_line(
        "cron_expression = \"*/7 * * * *\"",
        &["4:19 too_frequent due at 00:56 and again at 01:00, 4m later; 5m is the least"],
    );
    check_line(
        "cron_expression = \"0,57 0,23 1,15,16 * *\"",
        &[
            "4:19 too_frequent due at 23:57 and again at 00:00 the next day (as from 2026-01-15 on), 3m later; 5m is the least",
        ],
    );
    check_line(
        "interval_seconds = 60\nfirst_fire_at = 2026-11-02T00:00:00Z",
        &["4:20 too_frequent an interval of 60 s; 300 s is the least"],
    );
    check_line("run_at = 2026-11-02T09:00:00", &["4:10 bad_value 2026-11-02T09:00:00 does not say in which zone"]);
    check_line("run_at = 2026-11-02", &["4:10 bad_value 2026-11-02 is not an instant that exists"]);
    check_line("run_at = \"tomorrow\"", &["4:10 bad_value tomorrow is not an instant that exists"]);
    check_line(
        "run_at = 2026-11-02T09:00:00.5Z",
        &["4:10 bad_value 2026-11-02T09:00:00.5Z has a fraction of a second; whole ones are possible"],
    );
    check_line(
        "run_at = 2300-01-01T00:00:00Z",
        &["4:10 bad_value 2300-01-01T00:00:00Z is outside the years 1970 to 2199"],
    );
    check(
        &format!("min_interval = \"1h\"\n{HEAD}cron_expression = \"*/30 * * * *\"\n"),
        &["5:19 too_frequent due at 00:00 and again at 00:30, 30m later; 1h is the least"],
    );
    check_settings(
        "min_interval = \"1m\"",
        &["1:16 bad_value `min_interval` is shorter than the five minutes of the API"],
    );
}

#[test]
fn policies_and_options() {
    check_option(
        "overlap = \"skp\"",
        &[
            "5:11 bad_value `overlap` takes \"skip\", \"buffer_one\", \"cancel_running\" or \"allow\", and this is \"skp\"",
        ],
    );
    check_option(
        "catch_up = \"some\"",
        &["5:12 bad_value `catch_up` takes \"latest\", \"all\" or \"none\", and this is \"some\""],
    );
    check_option("catch_up_window = \"1s\"", &["5:19 bad_value `catch_up_window` is shorter than 1m"]);
    check_option("jitter = \"2days\"", &["5:10 bad_value `jitter` is longer than 1day"]);
    check_option("run_timeout = \"500years\"", &["5:15 bad_value `run_timeout` is longer than ten years"]);
    check_option(
        "retry = { max_attempts = 11, on = [\"completed\", \"faild\"] }",
        &[
            "5:26 bad_value `max_attempts` is outside of 2 to 10",
            "5:36 bad_value \"completed\" is not a bad end of a run",
            "5:49 bad_value \"faild\" is not a bad end of a run",
        ],
    );
    check_option("retry = { max_attempts = 2, on = [] }", &["5:34 bad_value `on` names no status"]);
    check_option("title = \" \"", &["5:9 bad_value `title` is empty"]);
    check_option(
        "webhook_url = \"example.com\"",
        &["5:15 bad_value `webhook_url` is not an address: relative URL without a base"],
    );
    check_option(
        "webhook_url = \"ftp://example.com\"",
        &["5:15 bad_value `webhook_url` begins with ftp:, and takes http, https"],
    );
    check_option(
        "max_elapsed_time_minutes = 481",
        &["5:28 bad_value `max_elapsed_time_minutes` is outside of 1 to 480"],
    );
    check_option(
        "run_with = \"robot\"",
        &["5:12 bad_value `run_with` takes \"agent\" or \"code\", and this is \"robot\""],
    );
    check_option(
        "extra_http_headers = { \"a b\" = \"x\", b = \"x\\ny\" }",
        &[
            "5:24 bad_value \"a b\" is not the name of a header",
            "5:41 bad_value a header cannot hold line breaks or control characters",
        ],
    );
    check_option(
        "run_metadata = { skycron_key = \"x\", ok = \"\" }",
        &[
            "5:18 bad_value `skycron_key` is kept for the tags by which runs are found again",
            "5:42 bad_value a value has 1 to 256 characters",
        ],
    );
    check_option(
        "cdp_connect_headers = { x-api-key = \"sk\" }",
        &["5:1 not_available `cdp_connect_headers` is not available in this version"],
    );
}

#[test]
fn settings() {
    check_settings(
        "[api]\nbase_url = \"http://skyvern.lan:8000\"",
        &["2:12 bad_value plain http would send the key in the clear"],
    );
    check_settings("[api]\nbase_url = \"skyvern\"", &["2:12 bad_value not an address: relative URL without a base"]);
    check_settings(
        "[api]\nlaunches_in_flight_max = 0",
        &["2:26 bad_value `launches_in_flight_max` is outside of 1 to 10000"],
    );
    check_settings("[api]\npoll_interval = \"10ms\"", &["2:17 bad_value `poll_interval` is shorter than 1s"]);
    check_settings("[history]\nkeep_for = \"1h\"", &["2:12 bad_value `keep_for` is shorter than 1day"]);
}

#[test]
fn a_key_in_the_file_is_never_shown() {
    let key = "sk-7f3a9c2e";
    let cases = [
        format!("[api]\napi_key = \"{key}\"\n"),
        format!("[api]\napi_key = {key}\n"),
        format!("[api]\napi_key = '{key}\n"),
        format!("[api]\napi_key \"{key}\"\n"),
        format!("[api]\napi_key: {key}\n"),
        format!("[api]\napi_kye = \"{key}\"\n"),
        format!("[api]\nkey = \"{key}\"\n"),
        format!("[api]\napi_key = [\"{key}\"]\n"),
        format!("[api]\napi_key = {{ env = \"{key}\" }}\n"),
        format!("[api]\napi_key = {{ value = \"{key}\" }}\n"),
        format!("[api]\napi_key = {{ credential = \"/{key}\" }}\n"),
        format!("[api]\nbase_url = \"https://user:{key}@api.skyvern.com\"\n"),
        format!("api_key = \"{key}\"\n"),
        format!("[api]\napi_key.value = \"{key}\"\n"),
        format!("[secrets]\nportal = \"{key}\"\n"),
    ];
    for text in cases {
        let project = Project::with_file(&text);
        project.run(&["check"]).code(2).never_shows(key);
        project.run(&["check", "--format", "json"]).code(2).never_shows(key);
        project.run(&["next"]).code(2).never_shows(key);
    }
}

#[test]
fn a_literal_key_is_refused_with_the_reason() {
    Project::with_file("[api]\napi_key = \"sk-7f3a9c2e\"\n")
        .run(&["check"])
        .code(2)
        .stdout_has("literal_secret")
        .stdout_has("api_key = *************")
        .stdout_has("files are copied, committed and shown")
        .stdout_has("{ env = \"SKYVERN_API_KEY\" }");
}

#[test]
fn a_problem_is_drawn_under_its_line() {
    let file = format!("{HEAD}cron_expression = \"0 22-2 * * *\"\n");
    let drawn = "bad_cron in schedule a

  × the range `22-2` in the hour runs backwards
   ╭─[schedules.toml:4:22]
 3 │ workflow_id = \"wpid_1\"
 4 │ cron_expression = \"0 22-2 * * *\"
   ·                      ────
   ╰────
  help: did you mean `0 22-23,0-2 * * *`?

schedules.toml: 1 error
";
    Project::with_file(&file).run(&["check"]).code(2).stdout_is(drawn).stderr_is("");
    let ascii = Project::with_file(&file).variable("LANG", "C").run(&["check"]).code(2);
    assert!(ascii.stdout.is_ascii(), "{}", ascii.stdout);
}

#[test]
fn a_duplicate_points_at_both_places() {
    let schedule = format!("{HEAD}cron_expression = \"0 9 * * *\"\n");
    Project::with_file(&schedule.repeat(2))
        .run(&["check"])
        .code(2)
        .stdout_has("[schedules.toml:6:6]")
        .stdout_has("taken here")
        .stdout_has("choose another");
}

#[test]
fn hints_lead_on() {
    let hint = |text: &str, hint: &str| {
        Project::with_file(&format!("{text}\n")).run(&["check"]).code(2).stdout_has(&format!("help: {hint}"));
    };
    let line = |line: &str, expected: &str| hint(&format!("{HEAD}{line}"), expected);
    line("cron_expresion = \"0 9 * * *\"", "did you mean `cron_expression`?");
    line("cron = \"0 9 * * *\"", "did you mean `cron_expression`?");
    line("timezone = \"America/New_Yrok\"", "did you mean `America/New_York`?");
    line("timezone = \"berlin\"", "did you mean `Europe/Berlin`?");
    line("overlap = \"skp\"", "did you mean \"skip\"?");
    line("jitter = 90", "write the unit, in quotes: \"90s\" for 90 seconds");
    line("run_at = 2026-11-02T09:00:00", "add the offset: 2026-11-02T09:00:00Z for UTC");
    line("parameters = { at = 2026-11-02 }", "put it in quotes: \"2026-11-02\"");
    line("min_interval = \"1h\"", "`min_interval` belongs at the top of the file, before the first [table]");
    hint("[schedule]\nid = \"a\"", "write [[schedule]] with two brackets");
    hint(
        "[api]\nbase_url = \"http://skyvern.lan\"",
        "write https://; or, in a network that you trust, allow_plain_http",
    );
    hint("[api]\nbase_url = \"https://api.skyvern.com/v1\"", "leave out /v1");
}

#[test]
fn files_that_cannot_be_read() {
    let check = |project: &Project, args: &[&str], parts: &[&str]| {
        let ran = project.run(args).code(2);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        for part in parts {
            assert!(all.contains(part), "no {part:?} in {all}");
        }
    };
    let project = Project::new();
    check(
        &project,
        &["check"],
        &["neither ./schedules.toml nor /etc/skycron/schedules.toml", "schedules.example.toml"],
    );
    check(
        &project,
        &["check", "-c", "absent.toml"],
        &["no such file or directory", "--config FILE", "absent.toml: 1 error"],
    );
    check(&project, &["next", "-c", "absent.toml"], &["no such file or directory", "--config FILE"]);
    check(&project, &["check", "-c", "."], &["this is a folder", "name the file in it"]);
    project.write("latin1.toml", b"# caf\xe9\n");
    check(&project, &["check", "-c", "latin1.toml"], &["not UTF-8: line 1", "save it as UTF-8"]);
    project.write("file", "");
    check(&project, &["check", "-c", "file/schedules.toml"], &["not a directory"]);
    let large = std::fs::File::create(project.path("large.toml")).unwrap();
    large.set_len((128 << 20) + 1).unwrap();
    check(&project, &["check", "-c", "large.toml"], &["larger than 128 MiB"]);
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;

    let project =
        Project::with_file(&format!("[api]\napi_key = {{ file = \"key\" }}\n{HEAD}cron_expression = \"0 9 * * *\"\n"));
    project.run(&["check"]).code(0).stdout_has("missing_secret").stdout_has("key cannot be read");
    project.write("key", "sk-7f3a9c2e");
    let mode = |mode| std::fs::set_permissions(project.path("key"), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let ran = project.run(&["check"]).code(0).never_shows("sk-7f3a9c2e");
    ran.stdout_has("exposed_secret").stdout_has("chmod 600").stdout_has("1 schedule, 1 warning");
    mode(0o600);
    project.run(&["check"]).code(0).stdout_has("1 schedule, no problems");
}

#[cfg(unix)]
#[test]
fn a_file_that_everybody_can_change_is_not_used() {
    use std::os::unix::fs::PermissionsExt;

    let project = Project::with_file(&format!("{HEAD}cron_expression = \"0 9 * * *\"\n"));
    let mode =
        |mode| std::fs::set_permissions(project.path("schedules.toml"), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o646);
    project.run(&["check"]).code(2).stdout_has("exposed_file").stdout_has("chmod o-w schedules.toml");
    mode(0o664);
    project.run(&["check"]).code(0);
}

#[test]
fn json_has_one_object_a_line() {
    let ran = Project::with_file(&format!("{HEAD}cron_expression = \"0 22-2 * * *\"\n")).run(&["check", "-f", "json"]);
    let expected = r#"{"file":"schedules.toml","line":4,"column":22,"severity":"error","code":"bad_cron","message":"the range `22-2` in the hour runs backwards","hint":"did you mean `0 22-23,0-2 * * *`?","schedule":"a"}"#;
    ran.code(2).stderr_is("").stdout_is(&format!("{expected}\n"));
}

#[test]
fn a_good_file_says_how_many_and_by_whose_rules() {
    let good = format!("{HEAD}cron_expression = \"0 9 * * *\"\n");
    let said = "SCHEDULE  CADENCE    DUE\na         0 9 * * *  At 09:00 every day, UTC\n\n\
        schedules.toml: 1 schedule, no problems\nzone rules: tzdata 2025b, built in (no zone files were found)\n";
    Project::with_file(&good).run(&["check"]).code(0).stdout_is(said).stderr_is("");
    Project::with_file(&good).run(&["check", "--format", "json"]).code(0).stdout_is("").stderr_is("");
}

#[test]
fn surprises_are_warnings_at_their_place() {
    let file = format!("{HEAD}cron_expression = \"0 9 1 * 1\"\n");
    let ran = Project::with_file(&file).run(&["check", "-f", "json"]).code(0);
    let first = ran.objects().into_iter().next().expect("a warning");
    assert_eq!((&first["severity"], &first["line"], &first["column"]), (&"warning".into(), &4.into(), &24.into()));
}
