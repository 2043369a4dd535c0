package registry

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// tokens are those that a registry with token authentication has given out.
type tokens struct {
	// open gives tokens for pulls to everyone.
	open bool

	mu      sync.Mutex
	given   map[string]token
	refresh string // the identity token of the registry's user; "" before it was asked for
}

// token is what is allowed with one.
type token struct {
	// scopes are as asked for, "repository:library/web:pull,push"; nil is all.
	scopes []string
}

// ForgetTokens has the tokens that were given until now be good no more, as they are when their time has run out.
func (r *Registry) ForgetTokens() {
	r.tokens.mu.Lock()
	defer r.tokens.mu.Unlock()
	r.tokens.given = nil
}

func (k *tokens) issue(scopes []string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.given == nil {
		k.given = map[string]token{}
	}
	id := rand.Text()
	k.given[id] = token{scopes}
	return id
}

func (k *tokens) identity() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refresh == "" {
		k.refresh = rand.Text()
	}
	return k.refresh
}

// allows reports a token that is still good and was given for all of what is needed.
func (k *tokens) allows(id string, needs []string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.given[id]
	if !ok {
		return false
	}
	if t.scopes == nil {
		return true
	}
	for _, need := range needs {
		repo, actions := splitScope(need)
		ok := false
		for _, s := range t.scopes {
			r, a := splitScope(s)
			ok = ok || r == repo && strings.Contains(a, actions)
		}
		if !ok {
			return false
		}
	}
	return true
}

func splitScope(s string) (repo, actions string) {
	i := strings.LastIndex(s, ":")
	return s[:max(i, 0)], s[i+1:]
}

// admit answers requests for tokens and those without a good one, and reports whether the registry is to answer.
// Source: distribution's documentation, "Token Authentication Specification".
func (r *Registry) admit(w http.ResponseWriter, req *http.Request) bool {
	if req.URL.Path == "/token" {
		r.giveToken(w, req)
		return false
	}
	needs := scopesOf(req)
	id, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if ok && r.tokens.allows(id, needs) {
		return true
	}
	challenge := fmt.Sprintf(`Bearer realm="%s://%s/token",service="test"`, r.scheme, r.Addr)
	if len(needs) > 0 {
		challenge += fmt.Sprintf(`,scope=%q`, needs[0])
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
	return false
}

// scopesOf says what a request needs.
func scopesOf(req *http.Request) []string {
	repo := strings.TrimPrefix(req.URL.Path, "/v2/")
	if repo == "" {
		return nil
	}
	repo, _, _ = strings.Cut(repo, "/manifests/")
	repo, _, _ = strings.Cut(repo, "/blobs/")
	actions := "pull,push"
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		actions = "pull"
	}
	needs := []string{fmt.Sprintf("repository:%s:%s", repo, actions)}
	if from := req.URL.Query().Get("from"); from != "" {
		needs = append(needs, fmt.Sprintf("repository:%s:pull", from))
	}
	return needs
}

func (r *Registry) giveToken(w http.ResponseWriter, req *http.Request) {
	user, secret, named := req.BasicAuth()
	offline := false
	if req.Method == http.MethodPost {
		named = true
		user, secret = req.FormValue("username"), req.FormValue("password")
		if req.FormValue("grant_type") == "refresh_token" && req.FormValue("refresh_token") == r.tokens.identity() {
			user, secret = r.user, r.secret
		}
		offline = req.FormValue("access_type") == "offline"
	}
	_ = req.ParseForm() // the token is refused if the form is bad
	scopes := []string{}
	for _, s := range req.Form["scope"] {
		scopes = append(scopes, strings.Fields(s)...)
	}
	switch {
	case user == r.user && secret == r.secret:
	case !named && r.tokens.open:
		for i := range scopes {
			scopes[i] = strings.Replace(scopes[i], ":pull,push", ":pull", 1)
		}
	default:
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"wrong user or password"}]}`, http.StatusUnauthorized)
		return
	}
	id := r.tokens.issue(scopes)
	answer := map[string]any{"token": id, "access_token": id, "expires_in": 300}
	if offline {
		answer["refresh_token"] = r.tokens.identity()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
