package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// ListenOptions say where a Server listens.
type ListenOptions struct {
	Addr string // host:port; port 0 is any that is free
	// Cert and Key are the files of a certificate and its key, for TLS; they are read again when they
	// change.
	Cert, Key string
	// Debug is the address of pprof, on a loopback interface; "" is none.
	Debug string
	// Drain is how long what runs may take to finish when the server is to end; 0 means DefaultDrain.
	Drain time.Duration
	// OnListen, if not nil, is told the server's URL once it listens.
	OnListen func(url string)
}

// DefaultDrain is how long a server that is to end waits for what runs.
const DefaultDrain = 30 * time.Second

// Bounds of connections. There is none on the time of an answer: each write has its own.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10
)

// Listen serves until ctx is done, and then drains the server.
func (s *Server) Listen(ctx context.Context, o ListenOptions) error {
	if o.Drain == 0 {
		o.Drain = DefaultDrain
	}
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", o.Addr, err)
	}
	scheme := "http"
	if o.Cert != "" || o.Key != "" {
		c := &certificate{cert: o.Cert, key: o.Key}
		if _, err := c.get(nil); err != nil {
			l.Close()
			return err
		}
		l = tls.NewListener(l, &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2",
			"http/1.1"}})
		scheme = "https"
	}
	debug, err := debugServer(o.Debug)
	if err != nil {
		l.Close()
		return err
	}
	defer debug.Close()
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	if o.OnListen != nil {
		o.OnListen(scheme + "://" + l.Addr().String())
	}
	select {
	case err := <-failed:
		s.Close()
		return err
	case <-ctx.Done():
	}
	s.log.Info("draining", "for_at_most", o.Drain)
	limit, cancel := context.WithTimeout(context.Background(), o.Drain)
	defer cancel()
	err = s.Drain(limit)
	// What was cut short is answered with an error, which takes no time.
	last, cancelLast := context.WithTimeout(context.Background(), time.Second)
	defer cancelLast()
	if server.Shutdown(last) != nil {
		server.Close()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("what ran was not finished in time")
	}
	return nil
}

// Loopback reports whether an address to listen on is reached from this machine alone.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && loopback(host)
}

// debugServer serves pprof on a loopback address.
func debugServer(addr string) (*http.Server, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout}
	if addr == "" {
		return server, nil
	}
	if !Loopback(addr) {
		return nil, fmt.Errorf("listen on %s for debugging: want a loopback address", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for debugging: %w", addr, err)
	}
	go func() { _ = server.Serve(l) }() // it ends with Close
	return server, nil
}
