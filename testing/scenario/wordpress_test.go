package scenario_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/testing/scenario"
)

// wordpressFile is the classic stack in v1 format, to the letter.
const wordpressFile = `wordpress:
 image: wordpress
 links:
   - db:mysql
 ports:
   - 8080:80
db: 
 image: mariadb
 environment:
   MYSQL_ROOT_PASSWORD: examle
`

func TestSampleWordPressOfTheFirstFormat(t *testing.T) {
	s := scenario.New(t)
	s.RealImages("mariadb", "wordpress")
	f := sample(s, "wordpress")
	if text, err := os.ReadFile(filepath.Join(f.Path, "docker-compose.yml")); err != nil || string(text) != wordpressFile {
		t.Errorf("the sample's file is the classic one, to the letter: %s %v", text, err)
	}
	browser := newBrowser(t, s, "http://127.0.0.1:8080")

	s.Step("up makes both containers under their old names, the database first")
	up := f.Must("up", "-d")
	db, wp := strings.Index(up.Stderr, "wordpress_db_1"), strings.Index(up.Stderr, "wordpress_wordpress_1")
	if db < 0 || wp < 0 || db > wp {
		t.Errorf("both names, the database's first: %s", up)
	}

	s.Step("the installation can be gone through, and the blog shows a new post")
	browser.install()
	browser.login()
	browser.publish("Written under berth")
	browser.sees("/", "Written under berth", "Berth test")

	s.Step("ps shows both up, with the published port and the exposed one")
	ps := f.Must("ps")
	for _, want := range []string{"wordpress_db_1", "wordpress_wordpress_1", "0.0.0.0:8080->80/tcp", "3306/tcp"} {
		if !strings.Contains(ps.Stdout, want) {
			t.Errorf("want %q: %s", want, ps)
		}
	}
	if n := strings.Count(ps.Stdout, "Up"); n != 2 {
		t.Errorf("two containers are up: %s", ps)
	}

	s.Step("logs has lines of both, each with its prefix")
	logs := f.Must("logs", "--no-color")
	var fromDB, fromWP bool
	for _, line := range logs.Lines() {
		fromDB = fromDB || strings.HasPrefix(line, "db_1         | ")
		fromWP = fromWP || strings.HasPrefix(line, "wordpress_1  | ")
	}
	if !fromDB || !fromWP {
		t.Errorf("prefixes of both services: db %v, wordpress %v; the log begins %.600s", fromDB, fromWP, logs.Stdout)
	}

	s.Step("exec runs the MariaDB client in db")
	query := f.Must("exec", "-T", "db", "mariadb", "-uroot", "-pexamle", "-N", "-e", "SELECT COUNT(*) FROM wordpress.wp_posts WHERE post_title = 'Written under berth'")
	if strings.TrimSpace(query.Stdout) != "1" {
		t.Errorf("the post is in the database: %s", query)
	}

	s.Step("stop and start keep the blog")
	f.Must("stop")
	if _, err := s.Get("http://127.0.0.1:8080/"); err == nil {
		t.Error("the page is served after stop")
	}
	f.Must("start")
	browser.sees("/", "Written under berth")

	s.Step("down takes both away; what it leaves on the host is audited when the scenario ends")
	f.Must("down")
	if left := f.Must("ps", "-a", "-q").Lines(); len(left) != 0 {
		t.Errorf("containers after down: %q", left)
	}
}

// The same applications in the current format: the database is waited for, the password is a secret, volumes have names.
func TestSampleWordPressOfToday(t *testing.T) {
	s := scenario.New(t)
	s.RealImages("mariadb", "wordpress")
	f := sampleFrom(s, "wordpress/today", "blog")
	const password = "what the reader chose"
	f.Write("db_password.txt", password+"\n")
	browser := newBrowser(t, s, "http://127.0.0.1:8080")

	s.Step("WordPress is started when the database is healthy")
	up := f.Must("up", "-d", "--progress", "plain").Stderr
	wantOrder(s, up, "blog-db-1 Healthy", "blog-wordpress-1 Started")

	s.Step("the password is a file in both containers, and in no environment")
	for _, service := range []string{"db", "wordpress"} {
		if got := f.Must("exec", "-T", service, "cat", "/run/secrets/db_password").Stdout; strings.TrimSpace(got) != password {
			t.Errorf("the secret in %s: %q", service, got)
		}
		if env := f.Must("exec", "-T", service, "env").Stdout; strings.Contains(env, password) {
			t.Errorf("the environment of %s: %s", service, env)
		}
	}

	s.Step("the installation can be gone through, and a post is kept in the database")
	browser.install()
	browser.login()
	browser.publish("Kept")
	query := f.Must("exec", "-T", "db", "mariadb", "-uwordpress", "-p"+password, "-N", "-e", "SELECT COUNT(*) FROM wordpress.wp_posts WHERE post_title = 'Kept'")
	if strings.TrimSpace(query.Stdout) != "1" {
		t.Errorf("the post is in the database: %s", query)
	}

	s.Step("down keeps the named volumes, and up finds the blog again")
	f.Must("down")
	f.Must("up", "-d")
	browser.sees("/", "Kept")

	s.Step("down -v removes them")
	f.Must("down", "-v")
	if left := f.Must("volumes", "-q").Lines(); len(left) != 0 {
		t.Errorf("volumes after down -v: %q", left)
	}
}

// browser goes through WordPress as a person would.
type browser struct {
	t    *testing.T
	s    *scenario.Scenario
	base string
	http *http.Client
}

func newBrowser(t *testing.T, s *scenario.Scenario, base string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := s.HTTP()
	client.Jar, client.CheckRedirect, client.Timeout = jar, nil, 5*time.Minute
	return &browser{t, s, base, client}
}

func (b *browser) do(method, path string, header http.Header, form url.Values) (string, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	q, err := http.NewRequest(method, b.base+path, body)
	if err != nil {
		return "", err
	}
	for k, v := range header {
		q.Header[k] = v
	}
	if form != nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r, err := b.http.Do(q)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode >= 400 {
		err = fmt.Errorf("%s %s: status %d: %.300s", method, path, r.StatusCode, text)
	}
	return string(text), err
}

// sees waits until a page has all texts; an application that makes its tables first takes its time on a busy machine.
func (b *browser) sees(path string, texts ...string) {
	b.t.Helper()
	b.s.Within(5*time.Minute, "the page "+path+" shows "+strings.Join(texts, ", "), func() error {
		page, err := b.do("GET", path, nil, nil)
		if err != nil {
			return err
		}
		for _, text := range texts {
			if !strings.Contains(page, text) {
				return fmt.Errorf("no %q in %.300s", text, page)
			}
		}
		return nil
	})
}

func (b *browser) must(method, path string, header http.Header, form url.Values, text string) string {
	b.t.Helper()
	page, err := b.do(method, path, header, form)
	if err != nil {
		b.t.Fatal(err)
	}
	if !strings.Contains(page, text) {
		b.t.Fatalf("%s %s: no %q in %.2000s", method, path, text, page)
	}
	return page
}

func (b *browser) install() {
	b.t.Helper()
	b.sees("/", "install.php") // whoever comes is sent to the installation
	b.must("GET", "/wp-admin/install.php?step=1", nil, nil, `name="weblog_title"`)
	b.must("POST", "/wp-admin/install.php?step=2", nil, url.Values{
		"weblog_title": {"Berth test"}, "user_name": {"admin"}, "admin_password": {"s3cret-Pass"}, "admin_password2": {"s3cret-Pass"},
		"pw_weak": {"on"}, "admin_email": {"admin@example.com"}, "Submit": {"Install"}, "language": {""},
	}, "Success!")
}

func (b *browser) login() {
	b.t.Helper()
	b.must("GET", "/wp-login.php", nil, nil, "loginform")
	b.must("POST", "/wp-login.php", nil, url.Values{
		"log": {"admin"}, "pwd": {"s3cret-Pass"}, "wp-submit": {"Log In"}, "testcookie": {"1"}, "redirect_to": {b.base + "/wp-admin/"},
	}, `id="wpadminbar"`)
}

func (b *browser) publish(title string) {
	b.t.Helper()
	nonce := b.must("GET", "/wp-admin/admin-ajax.php?action=rest-nonce", nil, nil, "")
	answer := b.must("POST", "/?rest_route=/wp/v2/posts", http.Header{"X-Wp-Nonce": {nonce}}, url.Values{
		"title": {title}, "content": {"hello"}, "status": {"publish"},
	}, title)
	var post struct{ Status string }
	if err := json.Unmarshal([]byte(answer), &post); err != nil || post.Status != "publish" {
		b.t.Fatalf("publish %q: %v, %.500s", title, err, answer)
	}
}
