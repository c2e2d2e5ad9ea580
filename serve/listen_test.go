package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
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

// TestSlowReader checks that a client that reads nothing of a stream keeps no other waiting, and is
// no hindrance to the server's end.
func TestSlowReader(t *testing.T) {
	s := newTester(t, Options{})
	c, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := endless + `,"stream":true,"partial_images":3}`
	_, err = io.WriteString(c, "POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Type: "+
		"application/json\r\nContent-Length: "+
		strconv.Itoa(len(body))+"\r\n\r\n"+body)
	if err != nil {
		t.Fatal(err)
	}
	want := s.images(`{"prompt":"2","seed":1}`)
	for range 20 {
		if got := s.images(`{"prompt":"2","seed":1}`); !bytes.Equal(got.Data[0].File, want.Data[0].File) {
			t.Fatal("another image")
		}
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
	if f := open.fallback; f == nil || f.cost >= open.cost || f.req.MinPSNR != 40 || !f.facts().Adapted || open.facts().Adapted {
		t.Errorf("no cheaper form: %+v", f)
	}
	for _, body := range []string{`{"prompt":"bag","policy":"none"}`, `{"prompt":"bag","speed":2}`,
		`{"prompt":"bag","min_psnr":45}`, `{"prompt":"bag","steps":7}`} {
		if g(body).fallback != nil {
			t.Errorf("%s has a cheaper form", body)
		}
	}
}
