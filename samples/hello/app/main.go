// Program hello is the application of the sample: one static program that is each of its three services.
//
//	hello web | db | visitor | check URL | fetch URL
//
// It owns nothing of berth and imports nothing but the standard library.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	role := "help"
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	var err error
	switch role {
	case "web":
		err = web(ctx)
	case "db":
		err = db(ctx, "/data/visits")
	case "visitor":
		err = visitor(ctx, "http://page/")
	case "check", "fetch":
		err = fetch(ctx, os.Args[2:], role == "fetch")
	default:
		err = fmt.Errorf("usage: hello web | db | visitor | check URL | fetch URL")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

// web shows a page. Each visit to it is one more in db.
func web(ctx context.Context) error {
	return serve(ctx, ":80", func(w http.ResponseWriter, r *http.Request) {
		count, err := ask(r.Context(), "http://db:5000/visit")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		host, err := os.Hostname()
		if err != nil {
			host = err.Error()
		}
		fmt.Printf("visit %s by %s\n", count, r.UserAgent())
		fmt.Fprintf(w, "%s!\nYou are visitor %s. This page was made in container %s.\n", os.Getenv("GREETING"), count, host)
	})
}

// db keeps one number in a file: "/visit" adds one, "/count" tells it.
func db(ctx context.Context, file string) error {
	var mu sync.Mutex
	return serve(ctx, ":5000", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		text, _ := os.ReadFile(file) // none yet: none counted
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		if r.URL.Path == "/visit" {
			n++
			if err := store(file, n); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		fmt.Fprintln(w, n)
	})
}

func store(file string, n int) error {
	part := filepath.Join(filepath.Dir(file), ".part")
	if err := os.WriteFile(part, []byte(strconv.Itoa(n)), 0o644); err != nil {
		return err
	}
	return os.Rename(part, file)
}

// visitor looks at the page every ten seconds, by the name of its link.
func visitor(ctx context.Context, url string) error {
	for {
		page, err := ask(ctx, url)
		if err != nil {
			page = err.Error()
		}
		fmt.Println(strings.ReplaceAll(page, "\n", " "))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Second):
		}
	}
}

// fetch asks for a URL, for a few seconds if need be.
func fetch(ctx context.Context, args []string, show bool) error {
	if len(args) != 1 {
		return fmt.Errorf("one URL is wanted")
	}
	var page string
	var err error
	for range 20 {
		if page, err = ask(ctx, args[0]); err == nil || !show {
			break
		}
		time.Sleep(250 * time.Millisecond)
	}
	if err == nil && show {
		fmt.Println(page)
	}
	return err
}

func serve(ctx context.Context, address string, f http.HandlerFunc) error {
	s := &http.Server{Addr: address, Handler: f, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	fmt.Println("serving", address)
	if err := s.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	fmt.Println("stopped")
	return nil
}

func ask(ctx context.Context, url string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	q.Header.Set("User-Agent", "hello "+strings.Join(os.Args[1:2], " "))
	r, err := (&http.Client{Timeout: 5 * time.Second}).Do(q)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, strings.TrimSpace(string(text)))
	}
	return strings.TrimSpace(string(text)), err
}
