package scenario_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"berth/testing/scenario"
)

var formToken = regexp.MustCompile(`name="authenticity_token" value="([^"]*)"`)

// tokenOf is what Redmine wants back with a form: the last form of a page is the page's own.
func tokenOf(s *scenario.Scenario, page string) string {
	s.Helper()
	found := formToken.FindAllStringSubmatch(page, -1)
	if len(found) == 0 {
		s.Fatalf("no form has a token: %.2000s", page)
	}
	return found[len(found)-1][1]
}

func TestSampleRedmine(t *testing.T) {
	s := scenario.New(t)
	s.RealImages("sameersbn-redmine", "sameersbn-postgresql")
	f := sample(s, "redmine")
	browser := newBrowser(t, s, "http://127.0.0.1:8080")

	s.Step("up makes both containers under their old names, the database first")
	wantOrder(s, f.Must("up", "-d").Stderr, "redmine_postgresql-redmine_1", "redmine_redmine_1")

	s.Step("the login page is served")
	browser.sees("/login", "Redmine", `name="username"`)
	login := func(password, wanted string) string {
		t.Helper()
		page := browser.must("GET", "/login", nil, nil, `name="username"`)
		return browser.must("POST", "/login", nil, url.Values{
			"authenticity_token": {tokenOf(s, page)}, "username": {"admin"}, "password": {password},
		}, wanted)
	}

	s.Step("a wrong password does not get in, nor does a form without its token")
	login("wrong", "Invalid user or password")
	if page, err := browser.do("POST", "/login", nil, url.Values{"username": {"admin"}, "password": {"admin"}}); err == nil {
		t.Errorf("a login without the form's token: %.500s", page)
	}

	s.Step("admin gets in with the password of a fresh installation, and is made to choose another one")
	page := login("admin", `name="new_password"`)
	browser.must("POST", "/my/password", nil, url.Values{
		"authenticity_token": {tokenOf(s, page)}, "password": {"admin"}, "new_password": {"s3cret-Pass"}, "new_password_confirmation": {"s3cret-Pass"},
	}, "/logout")
	browser = newBrowser(t, s, "http://127.0.0.1:8080") // another one, which nobody is logged in with
	login("s3cret-Pass", `href="/users/1">admin</a>`)

	s.Step("a project that admin makes is in the database")
	page = browser.must("GET", "/projects/new", nil, nil, `name="project[identifier]"`)
	browser.must("POST", "/projects", nil, url.Values{
		"authenticity_token": {tokenOf(s, page)}, "project[name]": {"Under berth"}, "project[identifier]": {"under-berth"},
	}, "Under berth")
	rows := f.Must("exec", "-T", "postgresql-redmine", "psql", "-h", "/run/postgresql", "-U", "postgres", "-d", "redmine-production",
		"-tAc", "SELECT name FROM projects").Stdout
	if strings.TrimSpace(rows) != "Under berth" {
		t.Errorf("projects in the database: %q", rows)
	}

	s.Step("it is still there after stop and start")
	f.Must("stop")
	f.Must("start")
	browser.sees("/projects/under-berth", "Under berth")
	f.Must("down", "-v")
}
