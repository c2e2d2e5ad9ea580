package jobs

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestMetrics reads a status as Prometheus does.
func TestMetrics(t *testing.T) {
	m, err := ServeMetrics("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.Set(&Status{Job: "abc", Images: 28, Made: 6, Rate: 1.5, Causes: map[string]int{`no "disk"`: 2}})
	r, err := http.Get("http://" + m.server.Addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# TYPE tokencache_job_images_made gauge\ntokencache_job_images_made{job=\"abc\"} 6\n",
		"tokencache_job_images_per_second{job=\"abc\"} 1.5\n",
		"tokencache_job_failures{job=\"abc\",cause=\"no \\\"disk\\\"\"} 2\n",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("got %s, want %s in it", b, want)
		}
	}
	none, err := ServeMetrics("")
	if err != nil {
		t.Fatal(err)
	}
	none.Set(&Status{})
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}

// TestStatus checks what people read of a status.
func TestStatus(t *testing.T) {
	s := &Status{
		Images:   200,
		Made:     100,
		Units:    8,
		Done:     4,
		Workers:  3,
		Rate:     2,
		Left:     50,
		SetAside: []Failure{{Unit: 1}},
		Causes:   map[string]int{"no space": 2, "a panic": 1},
	}
	want := "[###############...............] 100 of 200 images in 4 of 8 shards, 3 workers, 2.00 images/s, 50s left, " +
		"1 shards set aside; failed 1 times: a panic; failed 2 times: no space"
	if got := s.Bar() + " " + s.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
