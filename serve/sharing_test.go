package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/dit"
)

// lineReader reads lines of a stream.
type lineReader struct{ *bufio.Reader }

func newLineReader(r io.Reader) lineReader { return lineReader{bufio.NewReaderSize(r, 1<<16)} }

func (r lineReader) next() (string, error) {
	text, err := r.ReadString('\n')
	return strings.TrimSpace(text), err
}

// TestManyClients checks that of many requests at a time each is answered with the right image, or
// refused with the time after which to come again.
func TestManyClients(t *testing.T) {
	s := newTester(t, Options{Queue: 50 * time.Millisecond})
	want := map[int]imagesOf{}
	for class := range 4 {
		want[class] = s.images(fmt.Sprintf(`{"prompt":"%d","seed":5,"steps":20}`, class))
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	ok, refused := 0, 0
	for i := range 64 {
		all.Go(func() {
			class := i % 4
			status, h, b := s.do("POST", "/v1/images/generations", fmt.Sprintf(`{"prompt":"%d","seed":5,"steps":20}`, class),
				"Authorization", fmt.Sprint("Bearer ", i%7))
			mu.Lock()
			defer mu.Unlock()
			switch status {
			case http.StatusOK:
				ok++
				if got := parse[imagesOf](t, b); !bytes.Equal(got.Data[0].File, want[class].Data[0].File) {
					t.Errorf("class %d: another image", class)
				}
			case http.StatusTooManyRequests:
				refused++
				if h.Get("Retry-After") == "" {
					t.Error("429 without Retry-After")
				}
			default:
				t.Errorf("status %d: %s", status, b)
			}
		})
	}
	all.Wait()
	if ok == 0 {
		t.Error("nobody was served")
	}
	t.Logf("%d were served, %d refused", ok, refused)
}

// largeModel is the tiny model for images of so many tokens that a pass is of one.
func largeModel(t *testing.T) Model {
	path, err := tiny()
	if err != nil {
		t.Fatal(err)
	}
	return Model{Name: "tiny", Open: func(ctx context.Context, o tokencache.Options) (*Opened, error) {
		o.Heads, o.InputSize = tinyConfig.Heads, 32
		p, err := tokencache.OpenContext(ctx, path, o)
		return &Opened{Pipeline: p, Sampling: tokencache.Sampling{Guidance: 1.5}}, err
	}}
}

// TestFairShare checks that one client's many long images do not hold another's single one longer
// than its fair share: meanwhile they take about as many steps as it.
func TestFairShare(t *testing.T) {
	s := newTester(t, Options{Models: []Model{largeModel(t)}, LocalOnly: true, Queue: time.Hour})
	start := func(body, client string) (id string, taken func() (steps int)) {
		id = s.job(body+`,"previews":true}`, "Authorization", "Bearer "+client)
		run := s.jobs.jobs[id].run.Load()
		return id, func() (steps int) {
			run.mu.Lock()
			defer run.mu.Unlock()
			for _, at := range run.steps {
				steps += at.step
			}
			return steps
		}
	}
	many, others := start(endless, "a")
	for others() == 0 {
		time.Sleep(time.Millisecond)
	}
	// A busy machine may hold up the thread of the one and not that of the others; a server that is not
	// fair is so each time.
	const tries, most = 5, 2
	share := 0.0
	for range tries {
		single, own := start(`{"prompt":"2","steps":200`, "b")
		for own() == 0 {
			time.Sleep(time.Millisecond)
		}
		ownBefore, othersBefore := own(), others()
		for own() < ownBefore+100 {
			time.Sleep(time.Millisecond)
		}
		share = float64(others()-othersBefore) / float64(own()-ownBefore)
		s.do("POST", "/v1/jobs/"+single+"/cancel", "", "Authorization", "Bearer b")
		if share <= most {
			break
		}
	}
	if share > most {
		t.Errorf("for each step of a single image the others took %.2f", share)
	}
	s.do("POST", "/v1/jobs/"+many+"/cancel", "", "Authorization", "Bearer a")
}

// TestClientGone checks that a client that goes away frees its place, and that a stream that nobody
// reads keeps nobody else waiting.
func TestClientGone(t *testing.T) {
	s := newTester(t, Options{})
	s.images(`{"prompt":"1"}`)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", s.http.URL+"/v1/images/generations",
		strings.NewReader(endless+`,"stream":true,"partial_images":3}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	s.images(`{"prompt":"2","seed":1}`) // while nobody reads the stream
	pipeline := s.models.loaded()["tiny"].Pipeline
	if pipeline.Load().Images == 0 {
		t.Fatal("nothing is in flight")
	}
	cancel()
	for pipeline.Load().Images > 0 {
		if t.Context().Err() != nil {
			t.Fatal("the client's images are still in flight")
		}
		time.Sleep(time.Millisecond) // the connection's end is noticed by another goroutine
	}
}

// TestDeadline checks that work ends when its time is over.
func TestDeadline(t *testing.T) {
	s := newTester(t, Options{})
	status, _, b := s.do("POST", "/v1/images/generations", endless+`,"deadline":0.02}`)
	if status != http.StatusGatewayTimeout || !bytes.Contains(b, []byte("deadline_exceeded")) {
		t.Errorf("status %d: %s", status, b)
	}
}

// TestHopeless checks that a request that would only wait until its deadline is refused at once.
func TestHopeless(t *testing.T) {
	s := newTester(t, Options{Queue: time.Hour})
	id := s.job(endless + `}`)
	status, h, b := s.do("POST", "/v1/images/generations", endless+`,"deadline":0.001}`)
	if status != http.StatusTooManyRequests || h.Get("Retry-After") == "" || !bytes.Contains(b, []byte("deadline_unreachable")) {
		t.Errorf("status %d: %s", status, b)
	}
	s.cancelled(id)
}

// TestRegistry checks that models are opened when they are asked for, and that those not used for
// longest make room.
func TestRegistry(t *testing.T) {
	opened := map[string]int{}
	var list []Model
	for _, name := range []string{"a", "b", "c"} {
		m := tinyModel(t, name)
		open := m.Open
		m.Open = func(ctx context.Context, o tokencache.Options) (*Opened, error) {
			opened[name]++
			if name == "c" {
				return nil, errors.New("broken in a way that is nobody's business")
			}
			return open(ctx, o)
		}
		list = append(list, m)
	}
	s := newTester(t, Options{Models: list})
	if len(opened) > 0 {
		t.Errorf("opened before anybody asked: %v", opened)
	}
	s.images(`{"prompt":"1"}`)
	s.models.budget = s.models.loaded()["a"].Pipeline.Bytes() * 3 / 2
	s.images(`{"prompt":"1","model":"b"}`)
	s.images(`{"prompt":"1","model":"b"}`)
	if _, stays := s.models.loaded()["a"]; stays {
		t.Error("a is still open")
	}
	s.images(`{"prompt":"1","model":"a"}`)
	if got := fmt.Sprint(opened); got != "map[a:2 b:1]" {
		t.Errorf("opened %s", got)
	}
	status, _, b := s.do("POST", "/v1/images/generations", `{"prompt":"1","model":"c"}`)
	if status != http.StatusInternalServerError || bytes.Contains(b, []byte("business")) {
		t.Errorf("status %d: %s", status, b)
	}
	_, _, b = s.do("GET", "/v1/models", "")
	models := parse[struct{ Data []modelInfo }](t, b)
	if len(models.Data) != 3 || models.Data[0].ID != "a" || !models.Data[0].Default || models.Data[1].Loaded {
		t.Errorf("models %s", b)
	}
}

// TestRoom checks that a model is opened only once there is room for it, also where several are asked
// for at a time.
func TestRoom(t *testing.T) {
	var s *tester
	var opening atomic.Int64
	var list []Model
	for _, name := range []string{"a", "b", "c"} {
		m := tinyModel(t, name)
		open := m.Open
		m.Open = func(ctx context.Context, o tokencache.Options) (*Opened, error) {
			defer opening.Add(-1)
			if n := opening.Add(1); int(n)+len(s.models.loaded()) > 1 {
				t.Errorf("%s is opened while there is no room for it", name)
			}
			return open(ctx, o)
		}
		list = append(list, m)
	}
	s = newTester(t, Options{Models: list})
	s.images(`{"prompt":"1"}`)
	size := s.models.loaded()["a"].Pipeline.Bytes()
	s.models.budget = size * 3 / 2
	for _, m := range s.models.models {
		m.Size = size
	}
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			body := fmt.Sprintf(`{"prompt":"1","model":%q}`, list[i%3].Name)
			if status, _, b := s.do("POST", "/v1/images/generations", body); status != http.StatusOK &&
				status != http.StatusServiceUnavailable {
				t.Errorf("status %d: %s", status, b)
			}
		})
	}
	all.Wait()
}

// TestPutAway checks that nothing of a model stays in memory once it was closed to make room, though
// its jobs are still told, with the partial images that nobody has asked for yet.
func TestPutAway(t *testing.T) {
	s := newTester(t, Options{Models: []Model{tinyModel(t, "tiny"), tinyModel(t, "other")}})
	id := s.job(`{"prompt":"3","n":2,"steps":12,"partial_images":2,"previews":true}`)
	j := s.jobs.jobs[id]
	<-j.run.Load().done
	p := weak.Make(s.models.loaded()["tiny"].Pipeline)
	s.models.budget = p.Value().Bytes() * 3 / 2
	s.images(`{"prompt":"3","model":"other"}`)
	for range 1000 {
		if runtime.GC(); p.Value() == nil {
			break
		}
		time.Sleep(time.Millisecond) // the engine's goroutines end
	}
	if p.Value() != nil {
		t.Error("the model is still in memory")
	}
	got, events := s.ended(id)
	partial := 0
	for _, e := range events {
		if e.name == eventPartial && e.data["b64_json"] != "" {
			partial++
		}
	}
	if partial != 4 || got.Status != "completed" || len(got.Result.Data) != 2 || got.Result.Size != "8x8" {
		t.Errorf("%d partial images, job %+v", partial, got)
	}
}

// TestEncodings checks that a text model's prompts are encoded once, and what users are told.
func TestEncodings(t *testing.T) {
	m := tinyModel(t, "text")
	open, encoded := m.Open, 0
	m.Open = func(ctx context.Context, o tokencache.Options) (*Opened, error) {
		opened, err := open(ctx, o)
		opened.Encode = func(_ context.Context, prompt string) (tokencache.Condition, string, error) {
			encoded++
			return dit.Class(len(prompt) % 10), "cut to 77 tokens", nil
		}
		return opened, err
	}
	s := newTester(t, Options{Models: []Model{m}})
	got := s.images(`{"prompt":"red","seed":7,"n":2}`)
	s.images(`{"prompt":"red","seed":8}`)
	want := wantPixels(t, tokencache.Request{Classes: []int{3, 3}, Seed: 7, Sampling: tokencache.Sampling{Steps: 6,
		Guidance: 1.5}})
	if !bytes.Equal(pixelsOf(t, got.Data[1].File), want[1]) {
		t.Error("another image")
	}
	if encoded != 1 {
		t.Errorf("encoded %d times, want once", encoded)
	}
	s.images(`{"prompt":"blue"}`)
	if encoded != 2 {
		t.Errorf("encoded %d times, want twice", encoded)
	}
}

// textModel returns the small model as one of texts, each of which encode turns into a class.
func textModel(t *testing.T, encode func(ctx context.Context, prompt string) (int, error)) Model {
	m := tinyModel(t, "tiny")
	open := m.Open
	m.Open = func(ctx context.Context, o tokencache.Options) (*Opened, error) {
		opened, err := open(ctx, o)
		opened.Encode = func(ctx context.Context, prompt string) (tokencache.Condition, string, error) {
			class, err := encode(ctx, prompt)
			return dit.Class(class), "", err
		}
		return opened, err
	}
	return m
}

// TestRefusedPrompt checks that the prompt of a request that is refused is not encoded.
func TestRefusedPrompt(t *testing.T) {
	var encoded sync.Map
	m := textModel(t, func(_ context.Context, prompt string) (int, error) {
		encoded.Store(prompt, true)
		return 1, nil
	})
	s := newTester(t, Options{Models: []Model{m}, Queue: time.Millisecond})
	id := s.job(endless + `}`)
	status, _, b := s.do("POST", "/v1/images/generations", strings.Replace(endless, `"1"`, `"2"`, 1)+`}`)
	if status != http.StatusTooManyRequests {
		t.Fatalf("status %d: %s", status, b)
	}
	s.cancelled(id)
	if _, wrong := encoded.Load("2"); wrong {
		t.Error("the prompt of the refused request was encoded")
	}
}

// TestEncoding checks that requests whose prompts are being encoded, or wait for the encoder, can be
// cancelled, and that an error of the encoder is one of the server's.
func TestEncoding(t *testing.T) {
	begun := make(chan struct{}, 1)
	m := textModel(t, func(ctx context.Context, prompt string) (int, error) {
		if prompt == "broken" {
			return 0, errors.New("nobody's business")
		}
		begun <- struct{}{}
		<-ctx.Done()
		return 0, ctx.Err()
	})
	s := newTester(t, Options{Models: []Model{m}})
	first := s.job(endless + `}`)
	<-begun
	second := s.job(endless + `}`)
	for _, id := range []string{second, first} {
		status, _, b := s.do("POST", "/v1/jobs/"+id+"/cancel", "")
		if got := parse[jobOf](t, b); status != http.StatusOK || got.Status != "cancelled" {
			t.Errorf("status %d: %s", status, b)
		}
	}
	status, _, b := s.do("POST", "/v1/images/generations", `{"prompt":"broken"}`)
	if status != http.StatusInternalServerError || bytes.Contains(b, []byte("business")) {
		t.Errorf("status %d: %s", status, b)
	}
}

// TestInvalidText is TestInvalid for a model of flow that takes text, and has shifted steps.
func TestInvalidText(t *testing.T) {
	m := Named("../testdata/minit2i-pipeline-tiny", "")
	open := m.Open
	m.Open = func(ctx context.Context, o tokencache.Options) (*Opened, error) {
		opened, err := open(ctx, o)
		if err == nil {
			opened.Sampling.Shift = 3
		}
		return opened, err
	}
	s := newTester(t, Options{Models: []Model{m}})
	for _, test := range []struct{ fields, param string }{
		{`"negative_prompt":"fog","guidance":1`, "negative_prompt"}, {`"class":1`, "class"}, {`"guidance":-1`, "guidance"},
		{`"sampler":"pndm"`, "sampler"}, {`"sampler":"dim"`, "sampler"},
		{`"spacing":"logsnr"`, "spacing"}, {`"steps":"logsnr5"`, "steps"}, {`"spacing":"lu"`, "spacing"}, {`"steps":0`, "steps"},
		{`"sampler":"pndm","spacing":"logsnr"`, "sampler"}, {`"policy":"fora:n=0"`, "policy"}, {`"policy":"foar"`, "policy"},
	} {
		t.Run(test.fields, func(t *testing.T) {
			status, _, b := s.do("POST", "/v1/images/generations", `{"prompt":"red",`+test.fields+`}`)
			got := parse[struct {
				Error struct{ Param, Message string }
			}](t, b).Error
			if status != http.StatusBadRequest || got.Param != test.param || len(got.Message) > 300 {
				t.Errorf("status %d: %s, want one that names %s", status, b, test.param)
			}
		})
	}
}

// TestTextModel checks that a text-to-image model in a folder is served by prompts, with the pixels
// that the library gives, and that it is told what became of a prompt.
func TestTextModel(t *testing.T) {
	const folder = "../testdata/minit2i-pipeline-tiny"
	s := newTester(t, Options{Models: []Model{Named(folder, "")}})
	got := s.images(`{"prompt":"a red lighthouse near the sea","negative_prompt":"fog","seed":5,"steps":4}`)

	p, err := tokencache.Open(folder, tokencache.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, _, err := p.Prompts(t.Context(), []string{"a red lighthouse near the sea", "fog"})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Named(folder, "").Open(t.Context(), tokencache.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Pipeline.Close()
	sampling := opened.Sampling
	sampling.Steps = 4
	want, err := p.Generate(t.Context(), tokencache.Request{Conditions: c[:1], Negative: c[1], Seed: 5, Sampling: sampling})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pixelsOf(t, got.Data[0].File), want.Images[0].Pixels) {
		t.Error("another image than the library's")
	}
}
