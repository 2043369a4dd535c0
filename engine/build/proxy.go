package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// proxyKeys are the keys of a proxy in the Docker configuration, and the variables that they stand for.
// Source: docker's documentation, "Use a proxy server with the Docker CLI".
var proxyKeys = map[string]string{
	"httpProxy": "HTTP_PROXY", "httpsProxy": "HTTPS_PROXY", "ftpProxy": "FTP_PROXY", "noProxy": "NO_PROXY", "allProxy": "ALL_PROXY",
}

// addProxies puts the proxies of the Docker configuration in a folder among the arguments of a build, which the request's
// own win over. Steps see them, and the image doesn't keep them. No folder, or one without a configuration, has none.
func addProxies(args map[string]string, folder string) error {
	if folder == "" {
		return nil
	}
	path := filepath.Join(folder, "config.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the proxies of the Docker configuration: %w", err)
	}
	var config struct {
		Proxies map[string]map[string]string
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("read the proxies of %s: %w", path, err)
	}
	for key, value := range config.Proxies["default"] {
		name, ok := proxyKeys[key]
		if !ok || value == "" {
			continue
		}
		// BuildKit gives steps both spellings, whichever it is told.
		_, upper := args[name]
		_, lower := args[strings.ToLower(name)]
		if !upper && !lower {
			args[name] = value
		}
	}
	return nil
}
