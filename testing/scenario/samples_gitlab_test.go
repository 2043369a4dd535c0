package scenario_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/testing/scenario"
)

// gitlabPage is what the stand-in says of itself.
type gitlabPage struct {
	DBHost        string   `json:"db_host"`
	RedisHost     string   `json:"redis_host"`
	SSHPort       string   `json:"gitlab_ssh_port"`
	PostgreSQL    string   `json:"postgresql"`
	Redis         string   `json:"redis"`
	VisitsInSQL   int      `json:"visits_in_postgresql"`
	VisitsInRedis int      `json:"visits_in_redis"`
	Projects      []string `json:"projects"`
}

func TestSampleGitLab(t *testing.T) {
	s := scenario.New(t)
	s.RealImages("sameersbn-gitlab", "sameersbn-postgresql", "sameersbn-redis")
	f := sample(s, "gitlab")
	visit := func() (page gitlabPage) {
		t.Helper()
		s.Within(5*time.Minute, "the page is served", func() error {
			text, err := s.Get("http://127.0.0.1:8080/index.json")
			if err != nil {
				return err
			}
			return json.Unmarshal([]byte(text), &page)
		})
		return page
	}
	inContainer := func(service string, command ...string) string {
		t.Helper()
		return strings.TrimSpace(f.Must(append([]string{"exec", "-T", service}, command...)...).Stdout)
	}

	s.Step("up makes the three containers under their old names, what is linked to before what links")
	up := f.Must("up", "-d").Stderr
	wantOrder(s, up, "gitlab_redis_1", "gitlab_gitlab_1")
	wantOrder(s, up, "gitlab_postgresql_1", "gitlab_gitlab_1")

	s.Step("the page has what real servers said, at the addresses of the link variables")
	first := visit()
	if !strings.HasPrefix(first.PostgreSQL, "PostgreSQL ") || first.Redis == "" || first.SSHPort != "8022" || len(first.Projects) != 1 {
		t.Errorf("the page: %+v", first)
	}
	for service, host := range map[string]string{"postgresql": first.DBHost, "redis": first.RedisHost} {
		if address := inContainer(service, "hostname", "-I"); host != address {
			t.Errorf("%s is reached at %q; its address is %q", service, host, address)
		}
	}

	s.Step("each visit is counted in PostgreSQL and in Redis, as these two say themselves")
	second := visit()
	if second.VisitsInSQL != first.VisitsInSQL+1 || second.VisitsInRedis != first.VisitsInRedis+1 {
		t.Errorf("visits: %+v, then %+v", first, second)
	}
	rows := inContainer("postgresql", "psql", "-h", "/run/postgresql", "-U", "postgres", "-d", "gitlabhq_production", "-tAc", "SELECT count(*) FROM visits")
	if rows != strconv.Itoa(second.VisitsInSQL) {
		t.Errorf("rows in PostgreSQL: %s, want %d", rows, second.VisitsInSQL)
	}
	if got := inContainer("redis", "redis-cli", "get", "visits"); got != strconv.Itoa(second.VisitsInRedis) {
		t.Errorf("count in Redis: %s, want %d", got, second.VisitsInRedis)
	}

	s.Step("the SSH server answers at the published port, and lets in nobody without a key")
	key := sshHostKey(s, "127.0.0.1:8022")

	s.Step("containers that are made anew keep their data: counts, and the SSH server's key")
	f.Must("up", "-d", "--force-recreate")
	third := visit()
	// One that came before Redis was there is counted too, and answered with an error.
	if third.VisitsInSQL <= second.VisitsInSQL {
		t.Errorf("visits in PostgreSQL: %d, then %d", second.VisitsInSQL, third.VisitsInSQL)
	}
	if now := sshHostKey(s, "127.0.0.1:8022"); now != key {
		t.Errorf("the SSH server's key was %s, and is %s", key, now)
	}

	s.Step("without the alias redisio there are no such variables, and the application says what it misses")
	text, err := os.ReadFile(filepath.Join(f.Path, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	f.Write("other.yml", strings.Replace(string(text), "redis:redisio", "redis", 1))
	r := f.Berth("-f", "other.yml", "run", "--rm", "-T", "gitlab")
	if r.Code != 1 || !strings.Contains(r.Stdout, "Please configure the redis connection") {
		t.Errorf("want exit code 1 and the reason: %s", r)
	}
	f.Must("down", "-v")
}

// sshHostKey begins a login without any key, and gives the fingerprint of the key that the server showed.
func sshHostKey(s *scenario.Scenario, address string) (fingerprint string) {
	s.Helper()
	s.Eventually("an SSH server answers at "+address, func() error {
		c, err := s.Network.Dial(s.Context(), "tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return err
		}
		_, _, _, err = ssh.NewClientConn(c, address, &ssh.ClientConfig{User: "git",
			HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
				fingerprint = ssh.FingerprintSHA256(key)
				return nil
			},
		})
		if err == nil {
			return errors.New("it lets anyone in")
		}
		if fingerprint == "" {
			return fmt.Errorf("no key was shown: %w", err)
		}
		return nil
	})
	return fingerprint
}
