package serve

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestKeys checks who is let in, and that a key's jobs are its own.
func TestKeys(t *testing.T) {
	ada, adaLine, err := NewKey("ada")
	if err != nil {
		t.Fatal(err)
	}
	bob, bobLine, err := NewKey("bob")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(adaLine, ada) {
		t.Fatal("the file of keys would have the key")
	}
	keys, err := ReadKeys(strings.NewReader("# who may\n\n" + adaLine + " weight=2 requests=1 # ada\n" + bobLine + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := newTester(t, Options{Keys: keys, Broker: func(context.Context) (*BrokerView, error) { return busyBroker(), nil }})
	for _, test := range []struct {
		path, key string
		want      int
	}{
		{"/v1/models", "", http.StatusUnauthorized},
		{"/v1/models", "Bearer x", http.StatusUnauthorized},
		{"/v1/models", "Basic " + ada, http.StatusUnauthorized},
		{"/v1/models", "Bearer " + ada, http.StatusOK},
		{"/v1/models", "bearer " + bob, http.StatusOK},
		{"/metrics", "", http.StatusUnauthorized},
		{"/v1/queue", "", http.StatusUnauthorized},
		{"/v1/queue", "Bearer " + bob, http.StatusOK},
		{"/healthz", "", http.StatusOK},
		{"/", "", http.StatusOK},
	} {
		if status, _, b := s.do("GET", test.path, "", "Authorization", test.key); status != test.want {
			t.Errorf("%s with %q: status %d: %s", test.path, test.key, status, b)
		}
	}
	id := s.job(endless+`}`, "Authorization", "Bearer "+ada)
	if status, _, _ := s.do("GET", "/v1/jobs/"+id, "", "Authorization", "Bearer "+bob); status != http.StatusNotFound {
		t.Errorf("another's job: status %d", status)
	}
	if status, _, _ := s.do("POST", "/v1/jobs/"+id+"/cancel", "", "Authorization",
		"Bearer "+ada); status != http.StatusOK {
		t.Errorf("cancelling: status %d", status)
	}
}

// TestInHand checks that a key has no more requests in hand than its line allows, jobs included, and
// that others are not concerned.
func TestInHand(t *testing.T) {
	ada, adaLine, _ := NewKey("ada")
	bob, bobLine, _ := NewKey("bob")
	keys, err := ReadKeys(strings.NewReader(adaLine + " requests=2\n" + bobLine))
	if err != nil {
		t.Fatal(err)
	}
	s := newTester(t, Options{Keys: keys})
	ask := func(key string) (int, http.Header, []byte) {
		return s.do("POST", "/v1/images/generations", `{"prompt":"1"}`, "Authorization", "Bearer "+key)
	}
	first := s.job(endless+`}`, "Authorization", "Bearer "+ada)
	if status, _, b := ask(ada); status != http.StatusOK {
		t.Errorf("the second request: status %d: %s", status, b)
	}
	s.job(endless+`}`, "Authorization", "Bearer "+ada)
	status, h, b := ask(ada)
	if status != http.StatusTooManyRequests || h.Get("Retry-After") == "" || !bytes.Contains(b, []byte("too_many_requests")) {
		t.Errorf("the third request: status %d: %s", status, b)
	}
	if status, _, b := ask(bob); status != http.StatusOK {
		t.Errorf("another's: status %d: %s", status, b)
	}
	s.do("POST", "/v1/jobs/"+first+"/cancel", "", "Authorization", "Bearer "+ada)
	if status, _, b := ask(ada); status != http.StatusOK {
		t.Errorf("after one has ended: status %d: %s", status, b)
	}
}

func TestReadKeysReports(t *testing.T) {
	_, line, _ := NewKey("a")
	for text, want := range map[string]string{
		"a":                        "line 1: key a has no hash",
		"a md5:00":                 "line 1: key a: hash",
		"a sha256:zz":              "line 1: key a: hash",
		line + "\n" + line:         "line 2: the name a is there twice",
		line + " weight=0":         "weight from",
		line + " weight=NaN":       "weight from",
		line + " requests=0":       "1 or more",
		line + " colour=red":       "want weight=X or requests=N",
		"b " + line:                "line 1: key b: hash",
		strings.Repeat("x", 1<<17): "too long",
	} {
		if _, err := ReadKeys(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: error %v, want one with %q", text, err, want)
		}
	}
}

// TestAnybody checks who shares with whom where there is no list of keys.
func TestAnybody(t *testing.T) {
	for _, test := range []struct {
		local              bool
		address, key, name string
	}{
		{true, "127.0.0.1:1", "", "anybody"},
		{true, "127.0.0.1:1", "Bearer x", "anybody-2d711642"},
		{false, "192.0.2.7:1", "Bearer x", "address-192.0.2.7"},
		{false, "[2001:db8::1]:1", "", "address-2001:db8::1"},
	} {
		s := &Server{o: Options{LocalOnly: test.local}}
		r := &http.Request{RemoteAddr: test.address, Header: http.Header{"Authorization": {test.key}}}
		if got := s.anybody(r).name; got != test.name {
			t.Errorf("%+v: got %s", test, got)
		}
	}
}

// TestOrigins checks what pages of other sites can do: nothing.
func TestOrigins(t *testing.T) {
	s := newTester(t, Options{LocalOnly: true, Origin: "https://app.example"})
	for _, test := range []struct {
		name, method string
		header       []string
		host         string
		want         int
		allowed      string
	}{
		{"the page", "GET", []string{"Origin", s.http.URL}, "", 200, ""},
		{"another site", "GET", []string{"Origin", "https://evil.example"}, "", 403, ""},
		{"a sandbox", "GET", []string{"Origin", "null"}, "", 403, ""},
		{"the allowed site", "GET", []string{"Origin", "https://app.example"}, "", 200, "https://app.example"},
		{"its preflight", "OPTIONS", []string{"Origin", "https://app.example"}, "", 204, "https://app.example"},
		{"a name that leads here", "GET", nil, "evil.example", 403, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, s.http.URL+"/v1/models", nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i+1 < len(test.header); i += 2 {
				r.Header.Set(test.header[i], test.header[i+1])
			}
			if test.host != "" {
				r.Host = test.host
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if got := answer.Header.Get("Access-Control-Allow-Origin"); answer.StatusCode != test.want || got != test.allowed {
				t.Errorf("status %d, allowed %q", answer.StatusCode, got)
			}
		})
	}
	status, _, b := s.do("POST", "/v1/images/generations", `{"prompt":"1"}`, "Content-Type", "text/plain")
	if status != http.StatusUnsupportedMediaType {
		t.Errorf("a form's content type: status %d: %s", status, b)
	}
}

// TestPlaces checks what is answered at places that are not there.
func TestPlaces(t *testing.T) {
	s := newTester(t, Options{})
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/v1/images/generations", 405}, {"DELETE", "/v1/models", 405}, {"POST", "/healthz", 405},
		{"GET", "/v1/nothing", 404}, {"POST", "/nothing", 404}, {"GET", "/../serve.go", 404}, {"GET", "/%2e%2e/serve.go",
			404},
		{"GET", "/index.html/../../x", 404}, {"GET", "/v1/models/none", 404}, {"GET", "/debug/pprof/", 404},
	} {
		status, h, _ := s.do(test.method, test.path, "")
		if status != test.want || status == 405 && h.Get("Allow") == "" {
			t.Errorf("%s %s: status %d, want %d", test.method, test.path, status, test.want)
		}
	}
	_, h, _ := s.do("GET", "/", "")
	if got := h.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") || strings.Contains(got,
		"unsafe") {
		t.Errorf("the page's policy: %s", got)
	}
}

// TestMetrics checks that Prometheus finds nothing to object to, and what is counted.
func TestMetrics(t *testing.T) {
	s := newTester(t, Options{})
	s.images(`{"prompt":"1","n":2,"policy":"fora:n=2"}`)
	s.ended(s.job(`{"prompt":"1","policy":"fora:n=2"}`))
	s.cancelled(s.job(endless + `}`))
	problems, err := testutil.GatherAndLint(s.metrics.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	_, _, b := s.do("GET", "/metrics", "")
	for _, want := range []string{
		`tokencache_images_total{model="tiny",policy="fora"} 3`,
		`tokencache_e2e_job_latency_seconds_count{model="tiny",policy="fora",status="completed"} 1`,
		`tokencache_e2e_job_latency_seconds_count{model="tiny",policy="none",status="cancelled"} 1`,
		`tokencache_steps_total{kind="I",model="tiny",policy="fora"} `,
		`tokencache_steps_total{kind="P",model="tiny",policy="fora"} `,
		`tokencache_computed_tokens_total{model="tiny",policy="fora"} `,
		`tokencache_num_requests_running{model="tiny",policy="fora"} 0`,
		`tokencache_num_requests_waiting{model="tiny",policy="fora"} 0`,
		`tokencache_num_requests_running{model="tiny",policy="none"} 0`,
		`tokencache_request_queue_time_seconds_count{model="tiny",policy="fora"} 2`,
		`tokencache_http_requests_total{model="tiny",policy="fora",route="POST /v1/images/generations",status="200"} 1`,
		`tokencache_e2e_request_latency_seconds_count{model="tiny",policy="fora",route="POST /v1/images/generations"} 1`,
		`tokencache_tick_duration_seconds_count `, `tokencache_tick_batch_rows_count `, `tokencache_cache_bytes 0`,
	} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("no %s", want)
		}
	}
}

// TestLogs checks that logs are JSON with the request's id, and without prompts unless asked.
func TestLogs(t *testing.T) {
	for _, prompts := range []bool{false, true} {
		var log lockedBuffer
		s := newTester(t, Options{Logger: slog.New(slog.NewJSONHandler(&log, nil)), LogPrompts: prompts})
		_, h, _ := s.do("POST", "/v1/images/generations", `{"prompt":" 3 ","user":"somebody"}`, "X-Request-Id", "mine-1")
		s.http.Close() // the line of a request is written after its answer
		if h.Get("X-Request-Id") != "mine-1" || !strings.Contains(log.String(), `"request_id":"mine-1"`) {
			t.Errorf("id %q", h.Get("X-Request-Id"))
		}
		if got := strings.Contains(log.String(), "somebody"); got != prompts {
			t.Errorf("log with prompts %v: %s", prompts, log.String())
		}
	}
	s := newTester(t, Options{})
	if _, h, _ := s.do("GET", "/healthz", "", "X-Request-Id", "a b"); h.Get("X-Request-Id") == "a b" {
		t.Error("an id of any text is taken over")
	}
}

// writePair writes a certificate of its own and returns its serial number.
func writePair(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY",
		Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCertificate checks that a certificate is read again when it has changed, and stays in use
// while its files are broken.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	c := &certificate{cert: filepath.Join(dir, "c.pem"), key: filepath.Join(dir, "k.pem")}
	if _, err := c.get(nil); err == nil {
		t.Error("no error without files")
	}
	writePair(t, c.cert, c.key, 1)
	serial := func() int64 {
		c.looked = time.Time{} // as if it were later
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return serialOf(t, pair)
	}
	if got := serial(); got != 1 {
		t.Errorf("serial %d", got)
	}
	writePair(t, c.cert, c.key, 2)
	c.changed = [2]time.Time{} // file times may be coarse
	if got := serial(); got != 2 {
		t.Errorf("after the change: serial %d", got)
	}
	if err := os.WriteFile(c.key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.changed = [2]time.Time{}
	if got := serial(); got != 2 {
		t.Errorf("while the files are broken: serial %d", got)
	}
}

func serialOf(t *testing.T, pair *tls.Certificate) int64 {
	t.Helper()
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return cert.SerialNumber.Int64()
}
