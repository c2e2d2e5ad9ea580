package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/formula"
)

// tiny is the path of a small model of pixels with weights from a formula.
var tiny = sync.OnceValues(func() (string, error) {
	c := tinyConfig
	var source formula.Source
	content := checkpoint.Content{Read: source.Read}
	for _, w := range c.Tensors() {
		if w.Name == "pos_embed" {
			continue
		}
		source.Add(w.Name, w.Shape...)
		content.Tensors = append(content.Tensors, checkpoint.Info{Name: w.Name, DType: checkpoint.F32, Shape: w.Shape})
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("tokencache-serve-%d.safetensors", os.Getpid()))
	return path, checkpoint.WriteSafetensors(path, content)
})

var tinyConfig = dit.Config{
	InputSize:  8,
	PatchSize:  2,
	InChannels: 3,
	Hidden:     48,
	Depth:      2,
	Heads:      4,
	MLPHidden:  96,
	NumClasses: 10,
	LearnSigma: true,
}

func TestMain(m *testing.M) {
	status := m.Run()
	if path, err := tiny(); err == nil {
		os.Remove(path)
	}
	os.Exit(status)
}

// tinyModel returns the small model under a name.
func tinyModel(t testing.TB, name string) Model {
	t.Helper()
	path, err := tiny()
	if err != nil {
		t.Fatal(err)
	}
	return Model{Name: name, Open: func(ctx context.Context, o tokencache.Options) (*Opened, error) {
		o.Heads, o.InputSize = tinyConfig.Heads, tinyConfig.InputSize
		p, err := tokencache.OpenContext(ctx, path, o)
		return &Opened{Pipeline: p, Sampling: tokencache.Sampling{Steps: 6, Guidance: 1.5}}, err
	}}
}

// tester is a server with a client.
type tester struct {
	*Server
	t    testing.TB
	http *httptest.Server
}

// newTester returns a server with one small model, unless options say otherwise.
func newTester(t testing.TB, o Options) *tester {
	t.Helper()
	if o.Models == nil {
		o.Models = []Model{tinyModel(t, "tiny")}
	}
	if o.Threads == 0 {
		o.Threads = 2
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		h.Close()
	})
	return &tester{s, t, h}
}

// do sends a request and returns status, header and body.
func (s *tester) do(method, path, body string, header ...string) (int, http.Header, []byte) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := s.http.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, b
}

// images asks for images and returns the answer.
func (s *tester) images(body string) imagesOf {
	s.t.Helper()
	status, _, b := s.do("POST", "/v1/images/generations", body)
	if status != http.StatusOK {
		s.t.Fatalf("%s: status %d: %s", body, status, b)
	}
	return parse[imagesOf](s.t, b)
}

// imagesOf is an answer with images, as a client reads it.
type imagesOf struct {
	Created int64
	Size    string
	Model   string
	Seed    uint64
	Policy  string
	Ratio   float64 `json:"computed_token_ratio"`
	DType   string  `json:"dtype"`
	FLOPs   int64
	Adapted bool
	Data    []struct {
		File []byte `json:"b64_json"`
		URL  string
	}
}

func parse[T any](t testing.TB, b []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}

// wantPixels generates images by the library and returns their pixels.
func wantPixels(t testing.TB, req tokencache.Request) [][]byte {
	t.Helper()
	return wantPixelsIn(t, req, tokencache.F32)
}

// wantPixelsIn is wantPixels in a number format.
func wantPixelsIn(t testing.TB, req tokencache.Request, d tokencache.DType) [][]byte {
	t.Helper()
	m := tinyModel(t, "")
	o, err := m.Open(t.Context(), tokencache.Options{Threads: 1, DType: d})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Pipeline.Close()
	r, err := o.Pipeline.Generate(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var list [][]byte
	for _, img := range r.Images {
		list = append(list, img.Pixels)
	}
	return list
}
