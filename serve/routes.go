package serve

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// route is what the server answers.
type route struct {
	pattern string
	handler http.HandlerFunc
	open    bool // to anybody, without a key
	work    bool // it takes on work: refused while the server drains
}

// table lists all routes but the page's files.
func (s *Server) table() []route {
	return []route{
		{pattern: "POST /v1/images/generations", handler: s.generateImages, work: true},
		{pattern: "GET /v1/images/{id}/content", handler: s.imageContent, open: true},
		{pattern: "GET /v1/models", handler: s.listModels},
		{pattern: "GET /v1/models/{id}", handler: s.getModel},
		{pattern: "POST /v1/jobs", handler: s.postJob, work: true},
		{pattern: "GET /v1/jobs/{id}", handler: s.getJob},
		{pattern: "GET /v1/jobs/{id}/events", handler: s.jobEvents},
		{pattern: "POST /v1/jobs/{id}/cancel", handler: s.cancelJob},
		{pattern: "GET /v1/queue", handler: s.getQueue},
		{pattern: "GET /openapi.json", handler: s.openAPI, open: true},
		{pattern: "GET /healthz", handler: s.healthz, open: true},
		{pattern: "GET /readyz", handler: s.readyz, open: true},
		{pattern: "GET /metrics", handler: s.metrics.handler().ServeHTTP},
	}
}

// routes returns the handler of all requests.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, at := range s.table() {
		mux.Handle(at.pattern, s.wrap(at))
	}
	page := pageHandler()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		allowed := methodsOf(s.table(), r)
		switch {
		case allowed != "":
			w.Header().Set("Allow", allowed)
			s.writeError(w, r, newError(http.StatusMethodNotAllowed, typeInvalid, "method_not_allowed",
				"%s is not allowed here: want %s", r.Method, allowed))
		case strings.HasPrefix(r.URL.Path, "/v1/") || r.Method != http.MethodGet && r.Method != http.MethodHead:
			s.writeError(w, r, newError(http.StatusNotFound, typeMissing, "not_found", "there is nothing at %s %s", r.Method,
				abbreviate(r.URL.Path)))
		default:
			page.ServeHTTP(w, r)
		}
	})
	return s.outer(mux)
}

// methodsOf returns the methods that a path takes.
func methodsOf(table []route, r *http.Request) string {
	var methods []string
	for _, at := range table {
		method, pattern, _ := strings.Cut(at.pattern, " ")
		one := http.NewServeMux()
		one.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
		if _, found := one.Handler(r); found != "" {
			methods = append(methods, method)
		}
	}
	return strings.Join(methods, ", ")
}

// contextKey is the key of a value in a request's context.
type contextKey int

const (
	idKey contextKey = iota
	keyKey
	labelsKey
)

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(idKey).(string)
	return id
}

// keyOf returns the key that a request has shown.
func keyOf(r *http.Request) *Key {
	k, _ := r.Context().Value(keyKey).(*Key) // set for all routes
	return k
}

// labelsOf returns the labels of a request, which its handler sets.
func labelsOf(r *http.Request) *labels {
	l, _ := r.Context().Value(labelsKey).(*labels) // set for all requests
	return l
}

// recorder notes the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the writer.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// outer does what all requests need: an id, a line in the log, an end with the server, and an
// answer where a handler panics.
func (s *Server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := r.Header.Get("X-Request-Id")
		if !plain(id) {
			id = "req_" + strings.ToLower(rand.Text())
		}
		ctx := context.WithValue(context.WithValue(r.Context(), idKey, id), labelsKey, &labels{})
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
		r = r.WithContext(ctx)
		out := &recorder{ResponseWriter: w}
		if r.ContentLength != 0 {
			// It holds also for what net/http reads of a body that no handler wants. At the body's end
			// net/http lifts it, and watches the connection for its end.
			_ = http.NewResponseController(out).SetReadDeadline(time.Now().Add(s.readTimeout))
		}
		h := out.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("panic", "request_id", id, "error", v, "stack", string(debug.Stack()))
				if out.status == 0 {
					s.writeError(out, r, fmt.Errorf("panic: %v", v))
				}
			}
			s.answered(r, out, time.Since(began))
		}()
		if err := s.checkOrigin(out, r); err != nil {
			s.writeError(out, r, err)
			return
		}
		if r.Method == http.MethodOptions && s.o.Origin != "" {
			out.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(out, r)
	})
}

// plain reports whether a text that came from outside may be an id in logs.
func plain(id string) bool {
	const most = 64
	return id != "" && len(id) <= most &&
		strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// answered logs and counts an answer.
func (s *Server) answered(r *http.Request, out *recorder, took time.Duration) {
	if r.Context().Err() != nil && out.status == 0 {
		out.status = statusClosed
	}
	s.metrics.answered(r, out.status, took)
	level := slog.LevelInfo
	switch r.Pattern {
	case "GET /healthz", "GET /readyz", "GET /metrics", "GET /v1/queue": // asked again and again
		level = slog.LevelDebug
	}
	attrs := []any{"request_id", requestID(r), "method", r.Method, "route", r.Pattern, "status", out.status,
		"bytes", out.bytes, "seconds", took.Seconds(), "remote", r.RemoteAddr}
	if id := traceID(r.Header.Get("Traceparent")); id != "" {
		attrs = append(attrs, "trace_id", id)
	}
	s.log.Log(r.Context(), level, "request", attrs...)
}

// traceID returns the trace that a request says it belongs to, in the form of W3C's Trace Context,
// or "" if there is none.
func traceID(parent string) string {
	const digits = "0123456789abcdef"
	fields := strings.Split(parent, "-")
	if len(fields) < 4 || len(fields[0]) != 2 || len(fields[1]) != 32 || len(fields[2]) != 16 ||
		strings.Trim(fields[0]+fields[1]+fields[2], digits) != "" ||
		strings.Trim(fields[1], "0") == "" || fields[0] == "ff" {
		return ""
	}
	return fields[1]
}

// logGeneration logs what a request asks for. Prompts are there if the operator wants it.
func (s *Server) logGeneration(r *http.Request, g *generation) {
	attrs := []any{"request_id", requestID(r), "key", keyOf(r).name, "model", g.model.label(), "images", g.p.N,
		"steps", g.req.StepsText(), "policy", g.req.Policy.String(), "flops", g.cost * int64(g.p.N)}
	if s.o.LogPrompts {
		attrs = append(attrs, "prompt", g.prompt, "class", g.p.Class, "user", g.p.User)
	}
	s.log.InfoContext(r.Context(), "generate", attrs...)
}

// checkOrigin refuses what pages of other sites send through a user's browser.
func (s *Server) checkOrigin(w http.ResponseWriter, r *http.Request) error {
	if s.o.LocalOnly && !loopback(r.Host) {
		return newError(http.StatusForbidden, typeDenied, "wrong_host", "the host %q is not a loopback name",
			abbreviate(r.Host))
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && u.Host == r.Host {
		return nil
	}
	if s.o.Origin == "" || origin != s.o.Origin {
		return newError(http.StatusForbidden, typeDenied, "wrong_origin", "pages of %q may not call this server",
			abbreviate(origin))
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", s.o.Origin)
	h.Set("Vary", "Origin")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	return nil
}

// loopback reports whether a Host header names this machine's loopback interface.
func loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// wrap lets in who may come in.
func (s *Server) wrap(at route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		key := s.anybody(r)
		if s.o.Keys != nil && !at.open {
			if key = s.o.Keys.find(presented(r)); key == nil {
				s.writeError(w, r, newError(http.StatusUnauthorized, typeAuth, "invalid_api_key",
					"the API key is missing or unknown"))
				return
			}
		}
		if at.work {
			defer key.inHand.Add(-1)
			if n := key.inHand.Add(1); key.most > 0 && n > int64(key.most) {
				e := newError(http.StatusTooManyRequests, typeLimit, "too_many_requests",
					"the key has %d requests in hand, at most %d are allowed", n-1, key.most)
				e.retryAfter = time.Second
				s.writeError(w, r, e)
				return
			}
			if s.stopping() {
				s.writeError(w, r, errStopping)
				return
			}
		}
		at.handler(w, r.WithContext(context.WithValue(r.Context(), keyKey, key)))
	})
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}
