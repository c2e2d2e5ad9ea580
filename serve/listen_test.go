package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestListen checks that a server listens with TLS and with pprof beside it, and ends when it
// should, with everything it began.
func TestListen(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	writePair(t, cert, key, 1)
	s, err := New(Options{Models: []Model{tinyModel(t, "tiny")}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	at, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- s.Listen(ctx, ListenOptions{
			Addr:     "127.0.0.1:0",
			Cert:     cert,
			Key:      key,
			Debug:    "127.0.0.1:0",
			OnListen: func(url string) { at <- url },
		})
	}()
	url := <-at
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	r, err := client.Post(url+"/v1/images/generations", "application/json", strings.NewReader(`{"prompt":"1"}`))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	r.Body.Close()
	if !strings.HasPrefix(url, "https://") || r.StatusCode != http.StatusOK {
		t.Errorf("%s: status %d", url, r.StatusCode)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, o := range []ListenOptions{
		{Addr: "127.0.0.1:0", Debug: "0.0.0.0:0"}, {Addr: "127.0.0.1:0", Cert: cert}, {Addr: "nowhere:http:x"},
	} {
		if err := s.Listen(ctx, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

// TestListenDrains checks that a request that runs when the server is to end is answered: with its
// images if there is time, and else with an error that says why.
func TestListenDrains(t *testing.T) {
	for _, test := range []struct {
		steps  int
		drain  time.Duration
		status int
	}{{200, time.Minute, http.StatusOK}, {1000, time.Millisecond, http.StatusServiceUnavailable}} {
		t.Run(test.drain.String(), func(t *testing.T) {
			s, err := New(Options{Models: []Model{tinyModel(t, "tiny")}, Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			at, ended := make(chan string, 1), make(chan error, 1)
			go func() {
				ended <- s.Listen(ctx, ListenOptions{
					Addr:     "127.0.0.1:0",
					Drain:    test.drain,
					OnListen: func(url string) { at <- url },
				})
			}()
			url, answered := <-at, make(chan int, 1)
			go func() {
				r, err := http.Post(url+"/v1/images/generations", "application/json",
					strings.NewReader(`{"prompt":"1","n":10,"steps":`+strconv.Itoa(test.steps)+`}`))
				if err != nil {
					t.Error(err)
					answered <- 0
					return
				}
				r.Body.Close()
				answered <- r.StatusCode
			}()
			for running := 0; running == 0; running, _ = s.queue.counts() {
				time.Sleep(time.Millisecond)
			}
			cancel()
			if status := <-answered; status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSlowReader checks that a client that reads nothing of a stream keeps no other waiting, and is
// no hindrance to the server's end.
func TestSlowReader(t *testing.T) {
	s := newTester(t, Options{})
	body := endless + `,"stream":true,"partial_images":3}`
	s.raw("POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	want := s.images(`{"prompt":"2","seed":1}`)
	for range 20 {
		if got := s.images(`{"prompt":"2","seed":1}`); !bytes.Equal(got.Data[0].File, want.Data[0].File) {
			t.Fatal("another image")
		}
	}
}

// raw sends the text of a request on a connection of its own, which the test closes.
func (s *tester) raw(text string) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// TestStalledBody checks that the connection of a client that does not send the body it announced
// ends, with a key or without, and whether the body would have been read or not.
func TestStalledBody(t *testing.T) {
	key, line, err := NewKey("ada")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ReadKeys(strings.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	s := newTester(t, Options{Keys: keys})
	s.readTimeout = 100 * time.Millisecond
	for _, test := range []struct{ request, key string }{
		{"POST /v1/images/generations", key}, {"POST /v1/images/generations", "none"},
		{"POST /v1/jobs/" + newID("job") + "/cancel", key}, {"GET /v1/models", key}, {"GET /v1/models", "none"},
		{"GET /healthz", "none"}, {"GET /", "none"}, {"POST /nothing", "none"},
	} {
		t.Run(test.request+" "+test.key[:4], func(t *testing.T) {
			c := s.raw(test.request + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + test.key +
				"\r\nContent-Length: 100\r\n\r\n{")
			_ = c.SetReadDeadline(time.Now().Add(readTimeout - time.Second))
			if b, err := io.ReadAll(c); err != nil {
				t.Errorf("after %q the connection is still there: %v", b, err)
			}
		})
	}
}

// TestLongAnswer checks that the time for a body does not bound the answer to a complete one, whether
// it was read or not.
func TestLongAnswer(t *testing.T) {
	s := newTester(t, Options{Models: []Model{largeModel(t)}})
	id := s.job(endless + `,"deadline":0.6}`)
	s.readTimeout = 100 * time.Millisecond
	_, _, b := s.do("GET", "/v1/jobs/"+id+"/events", `{}`)
	if e := readEvents(t, b); len(e) == 0 || e[len(e)-1].name != "job.failed" {
		t.Errorf("events %s", b)
	}
	if status, _, b := s.do("POST", "/v1/images/generations", endless+`,"deadline":0.3}`); status != http.StatusGatewayTimeout {
		t.Errorf("status %d: %s", status, b)
	}
	h := httptest.NewUnstartedServer(s.Server)
	h.EnableHTTP2 = true
	h.StartTLS()
	defer h.Close()
	r, err := h.Client().Post(h.URL+"/v1/images/generations", "application/json", strings.NewReader(endless+`,"deadline":0.3}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.ProtoMajor != 2 || r.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("%s: status %d", r.Proto, r.StatusCode)
	}
}

// TestMinPSNR checks what is taken for a PSNR: a bundled policy whose contract keeps it, or none,
// which the answer tells, or an error that says what there is.
func TestMinPSNR(t *testing.T) {
	s := newTester(t, Options{Models: []Model{Named("fashion", "")}})
	for _, c := range []struct{ fields, policy, note, refused string }{
		{fields: `"min_psnr":40`, policy: "ddim50-3x"},
		{
			fields: `"min_psnr":40,"steps":7`,
			policy: "none",
			note:   "everything is computed, so that each image is the uncached one and keeps it: no policy bundled with fashion",
		},
		{fields: `"min_psnr":40,"policy":"none"`, policy: "none", note: "everything is computed"},
		{fields: `"min_psnr":80`, refused: "ddim50-2x keeps the highest, 48.5 dB"},
		{fields: `"min_psnr":40,"dtype":"int8"`, refused: "number format f32, not for number format int8"},
		{fields: `"min_psnr":40,"dtype":"bf16","policy":"ddim50-3x"`, refused: "number format f32, not for number format bf16"},
	} {
		t.Run(c.fields, func(t *testing.T) {
			p, err := decodeParams([]byte(`{"prompt":"bag",` + c.fields + `}`))
			if err != nil {
				t.Fatal(err)
			}
			g, err := s.prepare(t.Context(), p)
			if err != nil {
				if e := asAPI(err); c.refused == "" || e.Param == nil || *e.Param != "min_psnr" || !strings.Contains(e.Message, c.refused) {
					t.Errorf("error %v, want %q", err, c.refused)
				}
				return
			}
			defer g.model.release()
			note := strings.Join(g.notes, "\n")
			if c.refused != "" || g.req.Policy.String() != c.policy || (note == "") != (c.note == "") || !strings.Contains(note, c.note) {
				t.Errorf("policy %s with the note %q, want %s, %q or the error %q", g.req.Policy, note, c.policy, c.note, c.refused)
			}
		})
	}
}

// TestAdaptive checks that a request that would be refused is served by a cheaper policy, which the
// answer tells, and one that names a policy is not.
func TestAdaptive(t *testing.T) {
	s := newTester(t, Options{Models: []Model{Named("fashion", "")}, Adaptive: 40})
	g := func(body string) *generation {
		p, err := decodeParams([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		g, err := s.prepare(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.model.release)
		return g
	}
	open := g(`{"prompt":"bag"}`)
	if f := open.fallback; f == nil || f.cost >= open.cost || f.req.MinPSNR != 40 || !f.told().Facts.Adapted || open.told().Facts.Adapted {
		t.Errorf("no cheaper form: %+v", f)
	}
	for _, body := range []string{`{"prompt":"bag","policy":"none"}`, `{"prompt":"bag","speed":2}`,
		`{"prompt":"bag","min_psnr":45}`, `{"prompt":"bag","steps":7}`} {
		if g(body).fallback != nil {
			t.Errorf("%s has a cheaper form", body)
		}
	}
}
