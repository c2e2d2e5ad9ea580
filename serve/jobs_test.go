package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/regularfile"
)

// job posts a job and returns its id.
func (s *tester) job(body string, header ...string) string {
	s.t.Helper()
	status, h, b := s.do("POST", "/v1/jobs", body, header...)
	got := parse[jobStatus](s.t, b)
	if status != http.StatusAccepted || h.Get("Location") != "/v1/jobs/"+got.ID || got.ID == "" {
		s.t.Fatalf("status %d: %s", status, b)
	}
	return got.ID
}

// jobOf is a job as a client reads it.
type jobOf struct {
	ID, Status   string
	Images, Done int
	Result       imagesOf
	Error        struct{ Code string }
}

// ended follows a job to its end and returns it, with its events.
func (s *tester) ended(id string) (jobOf, []sse) {
	s.t.Helper()
	_, _, b := s.do("GET", "/v1/jobs/"+id+"/events", "")
	events := readEvents(s.t, b)
	_, _, b = s.do("GET", "/v1/jobs/"+id, "")
	return parse[jobOf](s.t, b), events
}

// endless is a request that is not finished before it is cancelled.
const endless = `{"prompt":"1","n":10,"steps":1000,"seed":1`

// TestJob checks a job's events and result, and that a reader that comes back gets what it missed.
func TestJob(t *testing.T) {
	s := newTester(t, Options{})
	want := s.images(`{"prompt":"3","n":2,"seed":7,"steps":12,"policy":"tokencache:ratio=0.25,k=3"}`)
	id := s.job(`{"prompt":"3","n":2,"seed":7,"steps":12,"policy":"tokencache:ratio=0.25,k=3","partial_images":2,"previews":true}`)
	got, events := s.ended(id)
	if got.Status != "completed" || got.Done != 2 || len(got.Result.Data) != 2 {
		t.Fatalf("job %+v", got)
	}
	for i, d := range got.Result.Data {
		if !bytes.Equal(d.File, want.Data[i].File) {
			t.Errorf("image %d is another than the one without a job", i)
		}
	}
	ids, names := []string{}, map[string]int{}
	for _, e := range events {
		names[e.name]++
		if e.id != "" {
			ids = append(ids, e.id)
		}
	}
	if names[eventPartial] != 4 || names[eventCompleted] != 2 || names["job.completed"] != 1 || len(ids) != 7 ||
		!slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != 7 {
		t.Errorf("events %v, ids %v", names, ids)
	}
	if events[len(events)-1].name != "job.completed" {
		t.Errorf("the last event is %s", events[len(events)-1].name)
	}
	_, _, b := s.do("GET", "/v1/jobs/"+id+"/events", "", "Last-Event-ID", ids[4])
	rest := slices.DeleteFunc(readEvents(t, b), func(e sse) bool { return e.id == "" })
	if len(rest) != 2 || rest[0].id != ids[5] || rest[0].data["b64_json"] != eventData(events, ids[5]) {
		t.Errorf("after event 5: %d events", len(rest))
	}
	for _, last := range []string{"x", "-1", "+1", "1-2", "1.0"} {
		if status, _, _ := s.do("GET", "/v1/jobs/"+id+"/events", "", "Last-Event-ID", last); status != http.StatusBadRequest {
			t.Errorf("Last-Event-ID %q: status %d", last, status)
		}
	}
}

func eventData(events []sse, id string) any {
	for _, e := range events {
		if e.id == id {
			return e.data["b64_json"]
		}
	}
	return nil
}

// TestStepEvents checks that the events of steps say which tokens were computed and show the image.
func TestStepEvents(t *testing.T) {
	s := newTester(t, Options{})
	id := s.job(endless + `,"policy":"tokencache:ratio=0.25,k=3","previews":true}`)
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.http.URL+"/v1/jobs/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	seen := map[string]bool{}
	d := newLineReader(answer.Body)
	for !seen["I"] || !seen["P"] || !seen["preview"] {
		text, err := d.next()
		if err != nil {
			t.Fatal(err)
		}
		var e stepEvent
		data, ok := strings.CutPrefix(text, "data: ")
		if !ok || json.Unmarshal([]byte(data), &e) != nil || e.Type != "job.step" {
			continue
		}
		seen[e.Kind] = true
		if e.Base64 != "" {
			seen["preview"] = true
		}
		sum := 0
		for _, c := range e.Computed {
			sum += c
		}
		if full := sum == 100*16; len(e.Computed) != 16 || full != (e.Kind == "I") || e.Steps != 1000 {
			t.Fatalf("event %s", data)
		}
	}
	s.cancelled(id)
}

// cancelled cancels a job and waits until nothing of it is in flight.
func (s *tester) cancelled(id string) {
	s.t.Helper()
	status, _, b := s.do("POST", "/v1/jobs/"+id+"/cancel", "")
	if got := parse[jobOf](s.t, b); status != http.StatusOK || got.Status != "cancelled" {
		s.t.Errorf("status %d: %s", status, b)
	}
	if load := s.models.loaded()["tiny"].Pipeline.Load(); load.Images != 0 || load.Bytes != 0 {
		s.t.Errorf("%d images of a cancelled job are in flight", load.Images)
	}
	if running, waiting := s.queue.counts(); running+waiting != 0 {
		s.t.Errorf("%d requests are running, %d waiting", running, waiting)
	}
}

// TestUnknownJobs checks what is said of jobs that the server does not know.
func TestUnknownJobs(t *testing.T) {
	s := newTester(t, Options{})
	id := newID("job")
	_, _, b := s.do("GET", "/v1/jobs/"+id, "")
	if got := parse[jobOf](t, b); got.Status != "lost" {
		t.Errorf("a job of an earlier process: %s", b)
	}
	_, _, b = s.do("GET", "/v1/jobs/"+id+"/events", "")
	if e := readEvents(t, b); len(e) != 1 || e[0].name != "job.lost" {
		t.Errorf("its events: %s", b)
	}
	for _, id := range []string{"job_", "job_1", "x", "job_AAAAAAAAAAAAAAAAAAAAAAAA", "..%2F..%2Fetc%2Fpasswd"} {
		if status, _, _ := s.do("GET", "/v1/jobs/"+id, ""); status != http.StatusNotFound {
			t.Errorf("job %s: status %d", id, status)
		}
	}
}

// TestResume checks that jobs of a server that ended go on in the next one, with the same images,
// and that those that had ended are as they were.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	first := newTester(t, Options{State: dir})
	want := first.images(`{"prompt":"3","n":3,"seed":7,"steps":40}`)
	if _, err := New(Options{Models: []Model{tinyModel(t, "tiny")}, State: dir}); err == nil {
		t.Error("two servers use one folder")
	}
	done := first.job(`{"prompt":"3","n":3,"seed":7,"steps":40}`)
	first.ended(done)
	cut := first.job(`{"prompt":"3","n":3,"seed":7,"steps":40,"priority":"low","partial_images":1}`)
	gone := first.job(endless + `}`)
	first.cancel(gone)
	last := first.newest(cut)
	first.Close() // at once, in the middle of the second

	second := newTester(t, Options{State: dir})
	second.waitFor(cut)
	_, _, b := second.do("GET", "/v1/jobs/"+cut+"/events", "", "Last-Event-ID", last)
	completed := 0
	for _, e := range readEvents(t, b) {
		if e.name == eventCompleted {
			completed++
		}
	}
	if completed != 3 {
		t.Errorf("who comes back after event %s of the first server is told of %d images, want 3", last, completed)
	}
	for _, id := range []string{cut, done} {
		got := second.waitFor(id)
		if got.Status != "completed" || len(got.Result.Data) != 3 {
			t.Fatalf("job %s: %+v", id, got)
		}
		for i, d := range got.Result.Data {
			if !bytes.Equal(d.File, want.Data[i].File) {
				t.Errorf("job %s: image %d is another", id, i)
			}
		}
	}
	if got := second.waitFor(gone); got.Status != "cancelled" {
		t.Errorf("a cancelled job: %+v", got)
	}
}

// TestResumedDeadline checks that the deadline of a job counts from when it was accepted, also where
// another process resumes it.
func TestResumedDeadline(t *testing.T) {
	dir := t.TempDir()
	first := newTester(t, Options{State: dir})
	id := first.job(endless + `,"deadline":3600}`)
	first.Close()
	path := filepath.Join(dir, id, requestFile)
	var saved savedRequest
	b, err := regularfile.Read(path, maxBody)
	if err == nil {
		err = json.Unmarshal(b, &saved)
	}
	if err != nil {
		t.Fatal(err)
	}
	saved.Created = saved.Created.Add(-2 * time.Hour)
	if b, err = json.Marshal(saved); err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	second := newTester(t, Options{State: dir, Queue: time.Nanosecond})
	if got := second.waitFor(id); got.Status != "failed" || got.Error.Code != "deadline_exceeded" {
		t.Errorf("job %+v", got)
	}
}

// newest follows a job until it has an event with an id, and returns that.
func (s *tester) newest(id string) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), "GET", s.http.URL+"/v1/jobs/"+id+"/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := newLineReader(answer.Body)
	for {
		text, err := lines.next()
		if err != nil {
			s.t.Fatal(err)
		}
		if last, ok := strings.CutPrefix(text, "id: "); ok {
			return last
		}
	}
}

// TestEndedJobs checks that a job that has ended is told by the next server as by the one that made
// it, though its model is not there any more, and that no model is opened for that.
func TestEndedJobs(t *testing.T) {
	dir := t.TempDir()
	first := newTester(t, Options{State: dir})
	var want [][]byte
	ids := []string{first.job(`{"prompt":"3,5","n":2,"seed":7,"policy":"fora:n=2","guidance":2}`),
		first.job(`{"prompt":"3","response_format":"url","output_format":"jpeg"}`), first.job(endless + `}`)}
	first.cancel(ids[2])
	for _, id := range ids {
		first.ended(id)
		_, _, b := first.do("GET", "/v1/jobs/"+id, "")
		want = append(want, b)
	}
	first.Close()

	other := tinyModel(t, "other")
	other.Open = func(context.Context, tokencache.Options) (*Opened, error) {
		t.Error("a model is opened")
		return nil, errors.New("none")
	}
	second := newTester(t, Options{State: dir, Models: []Model{other}})
	for i, id := range ids {
		second.waitFor(id)
		_, _, got := second.do("GET", "/v1/jobs/"+id, "")
		if secret := regexp.MustCompile(`img_\w+`); !bytes.Equal(secret.ReplaceAll(got, nil), secret.ReplaceAll(want[i], nil)) {
			t.Errorf("job %d: %.400s, before %.400s", i, got, want[i])
		}
	}
}

// cancel cancels a job while others run.
func (s *tester) cancel(id string) {
	s.t.Helper()
	if status, _, b := s.do("POST", "/v1/jobs/"+id+"/cancel", ""); status != http.StatusOK {
		s.t.Errorf("status %d: %s", status, b)
	}
}

// waitFor waits until a job that is being resumed has ended.
func (s *tester) waitFor(id string) jobOf {
	s.t.Helper()
	for {
		status, _, _ := s.do("GET", "/v1/jobs/"+id+"/events", "")
		if status != http.StatusServiceUnavailable {
			break
		}
		select {
		case <-s.t.Context().Done():
		case <-time.After(time.Millisecond):
		}
	}
	_, _, b := s.do("GET", "/v1/jobs/"+id, "")
	return parse[jobOf](s.t, b)
}

// TestBrokenState checks that files of jobs that were damaged harm no other.
func TestBrokenState(t *testing.T) {
	dir := t.TempDir()
	id := newID("job")
	if err := os.MkdirAll(filepath.Join(dir, id), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{requestFile: `{"request":{"prompt":"77"},"key":"address-127.0.0.1","model":"tiny","images":1}`, "0.json": "{"} {
		if err := os.WriteFile(filepath.Join(dir, id, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newTester(t, Options{State: dir})
	if got := s.waitFor(id); got.Status != "failed" {
		t.Errorf("job %+v", got)
	}
	s.images(`{"prompt":"3"}`)
}

// TestDrain checks that a server that ends finishes what runs within the time it has, and refuses
// new work.
func TestDrain(t *testing.T) {
	s := newTester(t, Options{})
	s.images(`{"prompt":"1"}`)
	id := s.job(endless + `}`)
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan error)
	go func() { drained <- s.Drain(ctx) }()
	for !s.stopping() {
		s.do("GET", "/healthz", "")
	}
	if status, h, _ := s.do("POST", "/v1/images/generations",
		`{"prompt":"1"}`); status != http.StatusServiceUnavailable || h.Get("Retry-After") == "" {
		t.Errorf("new work: status %d", status)
	}
	if status, _, _ := s.do("GET", "/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("readyz: status %d", status)
	}
	cancel()
	if err := <-drained; err == nil {
		t.Error("no error, though a job was cut short")
	}
	if got := parse[jobOf](t, func() []byte {
		_, _, b := s.do("GET", "/v1/jobs/"+id,
			"")
		return b
	}()); got.Status != "failed" || got.Error.Code != "stopping" {
		t.Errorf("job %+v", got)
	}
}
