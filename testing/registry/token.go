package registry

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// tokens are those that a registry with token authentication has given out. They are good for everything.
type tokens struct {
	life time.Duration

	mu    sync.Mutex
	until map[string]time.Time
}

func (k *tokens) issue() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.until == nil {
		k.until = map[string]time.Time{}
	}
	token := rand.Text()
	k.until[token] = time.Now().Add(k.life)
	return token
}

func (k *tokens) valid(token string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Now().Before(k.until[token])
}

// admit answers requests for tokens and those without a good one, and reports whether the registry is to answer.
// Source: distribution's documentation, "Token Authentication Specification".
func (r *Registry) admit(w http.ResponseWriter, req *http.Request) bool {
	if req.URL.Path == "/token" {
		user, secret, _ := req.BasicAuth()
		if req.Method == http.MethodPost {
			user, secret = req.FormValue("username"), req.FormValue("password")
		}
		if user != r.user || secret != r.secret {
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"wrong user or password"}]}`, http.StatusUnauthorized)
			return false
		}
		token := r.tokens.issue()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": max(1, int(r.tokens.life.Seconds()))})
		return false
	}
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if ok && r.tokens.valid(token) {
		return true
	}
	repo, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v2/"), "/manifests/")
	repo, _, _ = strings.Cut(repo, "/blobs/")
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s://%s/token",service="test",scope="repository:%s:pull"`, r.scheme, r.Addr, repo))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
	return false
}
