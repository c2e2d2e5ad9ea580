//go:build linux || darwin

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serving starts the server and returns it with its URL.
func serving(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	c := exec.Command("tokencache", append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "serving "); ok {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return c, url
		}
	}
	t.Fatal("the server ended before it listened")
	return nil, ""
}

// served is a job as the server tells it.
type served struct {
	ID, Status string
	Done       int
	Result     struct {
		Data []struct {
			File []byte `json:"b64_json"`
		}
	}
}

// send makes a request.
func send(t *testing.T, method, url, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// ask makes a request and returns the answer.
func ask(t *testing.T, method, url, body string) (got served) {
	t.Helper()
	answer := send(t, method, url, body)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil || answer.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s %s: %s, %s, %v", method, url, answer.Status, b, err)
	}
	return got
}

// TestServeKilled kills the server with SIGKILL while jobs run. The next one knows what was
// accepted: without a folder the jobs are lost, with one they are resumed, with the images that
// nothing disturbed. SIGTERM then ends it with the signal's status.
func TestServeKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program some times")
	}
	const body = `{"model":"fashion","class":7,"n":3,"seed":1,"steps":6,"policy":"none"}`
	dir := t.TempDir()
	kill := func(args ...string) (ids []string) {
		c, url := serving(t, args...)
		for i := range 2 {
			ids = append(ids, ask(t, "POST", url+"/v1/jobs", strings.Replace(body, `"seed":1`, fmt.Sprintf(`"seed":%d`, 1+i),
				1)).ID)
		}
		for ask(t, "GET", url+"/v1/jobs/"+ids[0], "").Done == 0 {
			time.Sleep(time.Millisecond)
		}
		_ = c.Process.Kill()
		_ = c.Wait()
		return ids
	}
	lost, kept := kill(), kill("--state", dir)
	c, url := serving(t, "--state", dir)
	for _, id := range lost {
		if got := ask(t, "GET", url+"/v1/jobs/"+id, ""); got.Status != "lost" {
			t.Errorf("a job without a folder: %s", got.Status)
		}
	}
	for i, id := range kept {
		want := ask(t, "POST", url+"/v1/jobs", strings.Replace(body, `"seed":1`, fmt.Sprintf(`"seed":%d`, 1+i), 1))
		waitFor(t, url, &want)
		got := served{ID: id}
		waitFor(t, url, &got)
		if len(got.Result.Data) != 3 || len(want.Result.Data) != 3 {
			t.Fatalf("job %d: %s, %d images, want 3", i, got.Status, len(got.Result.Data))
		}
		for k := range got.Result.Data {
			if !bytes.Equal(got.Result.Data[k].File, want.Result.Data[k].File) {
				t.Errorf("job %d: image %d is another", i, k)
			}
		}
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// TestServeDrained sends the server SIGTERM while jobs run: it says that it is not ready and takes no
// new work, and what runs goes on to its end. A second SIGTERM ends it at once.
func TestServeDrained(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program and waits for its jobs")
	}
	const long = `{"model":"fashion","class":7,"n":10,"seed":1,"steps":1000,"policy":"none"}`
	c, url := serving(t, "--drain", "1h")
	ask(t, "POST", url+"/v1/jobs", long)
	short := ask(t, "POST", url+"/v1/jobs", `{"model":"fashion","class":7,"seed":1,"steps":20,"policy":"none"}`)
	for short.Status == "queued" {
		time.Sleep(time.Millisecond)
		short = ask(t, "GET", url+"/v1/jobs/"+short.ID, "")
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for statusOf(t, "GET", url+"/readyz", "") == http.StatusOK {
		time.Sleep(time.Millisecond)
	}
	for _, path := range []string{"/v1/jobs", "/v1/images/generations"} {
		if got := statusOf(t, "POST", url+path, long); got != http.StatusServiceUnavailable {
			t.Errorf("POST %s while the server drains: status %d", path, got)
		}
	}
	if waitFor(t, url, &short); short.Status != "completed" || len(short.Result.Data) != 1 {
		t.Errorf("what ran: %s, %d images", short.Status, len(short.Result.Data))
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() }).Stop()
	err := c.Wait()
	if state, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || state.Signal() != syscall.SIGTERM {
		t.Errorf("after the second SIGTERM: %v", err)
	}
}

// statusOf makes a request and returns the status of the answer.
func statusOf(t *testing.T, method, url, body string) int {
	t.Helper()
	answer := send(t, method, url, body)
	answer.Body.Close()
	return answer.StatusCode
}

// waitFor waits until a job has ended.
func waitFor(t *testing.T, url string, j *served) {
	t.Helper()
	for {
		*j = ask(t, "GET", url+"/v1/jobs/"+j.ID, "")
		if j.Status != "queued" && j.Status != "running" {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
