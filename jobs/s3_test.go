package jobs

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeS3 is as much of an S3 service as the store asks for, in memory.
type fakeS3 struct {
	mu      sync.Mutex
	objects map[string][]byte
}

type listed struct {
	XMLName  xml.Name `xml:"ListBucketResult"`
	Contents []listedObject
}

type listedObject struct{ Key string }

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/")
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=someone/") {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodPut:
		body, err := unchunked(r)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.objects[key] = body
		w.Header().Set("ETag", `"0"`)
	case http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet, http.MethodHead:
		if r.URL.Query().Get("list-type") != "" {
			list := listed{}
			for key := range f.objects {
				bucket, name, _ := strings.Cut(key, "/")
				if bucket == strings.Trim(r.URL.Path, "/") && strings.HasPrefix(name, r.URL.Query().Get("prefix")) {
					list.Contents = append(list.Contents, listedObject{name})
				}
			}
			_ = xml.NewEncoder(w).Encode(list)
			return
		}
		body, there := f.objects[key]
		if !there {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.Header().Set("ETag", `"0"`)
		_, _ = w.Write(body)
	}
}

// unchunked returns a request's body, which may be in signed chunks.
func unchunked(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return io.ReadAll(r.Body)
	}
	var body bytes.Buffer
	for b := bufio.NewReader(r.Body); ; {
		line, err := b.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil || n == 0 {
			return body.Bytes(), err
		}
		if _, err := io.CopyN(&body, b, n); err != nil {
			return nil, err
		}
		if _, err := b.ReadString('\n'); err != nil {
			return nil, err
		}
	}
}

// TestS3 puts results into a bucket and gets them back: of a service in memory or, if
// TOKENCACHE_TEST_S3 names a bucket, of the one that AWS_ENDPOINT_URL names.
func TestS3(t *testing.T) {
	bucket := os.Getenv("TOKENCACHE_TEST_S3")
	if bucket == "" {
		bucket = "bucket"
		service := httptest.NewServer(&fakeS3{objects: map[string][]byte{}})
		defer service.Close()
		for name, value := range map[string]string{
			"AWS_ENDPOINT_URL":      service.URL,
			"AWS_ENDPOINT_URL_S3":   "",
			"AWS_ACCESS_KEY_ID":     "someone",
			"AWS_SECRET_ACCESS_KEY": "secret",
			"AWS_SESSION_TOKEN":     "",
			"AWS_REGION":            "us-east-1",
		} {
			t.Setenv(name, value)
		}
	}
	ctx := t.Context()
	s, err := (&Queue{}).OpenStore(ctx, s3Scheme+bucket+"/runs/one/")
	if err != nil {
		t.Fatal(err)
	}
	other, err := (&Queue{}).OpenStore(ctx, s3Scheme+bucket+"/runs/other")
	if err != nil {
		t.Fatal(err)
	}
	tasks := tasksOf(3)
	dir := t.TempDir()
	for i, size := range []int{0, 5, 300_000} {
		path := filepath.Join(dir, tasks.result(i))
		if err := writeResult(path, bytes.Repeat([]byte{byte(i)}, size)); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(ctx, path); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(ctx, filepath.Join(dir, tasks.result(1))); err != nil { // twice
		t.Fatal(err)
	}
	if names, err := s.Names(ctx); err != nil || len(names) != 3 || !names[tasks.result(2)] {
		t.Errorf("names %v, error %v", names, err)
	}
	if names, err := other.Names(ctx); err != nil || len(names) != 0 {
		t.Errorf("under another prefix: names %v, error %v", names, err)
	}
	checkHas(t, s, tasks.result(1), "part-of-none")
	checkHas(t, other, "", tasks.result(1))
	got := t.TempDir()
	for i, size := range []int{0, 5, 300_000} {
		result, err := fetchResult(ctx, s, tasks.result(i), got)
		if err != nil || !bytes.Equal(result, bytes.Repeat([]byte{byte(i)}, size)) {
			t.Errorf("result %d: %d bytes, error %v", i, len(result), err)
		}
	}
	for range 2 { // also one that is not there
		if err := s.Remove(ctx, tasks.result(1)); err != nil {
			t.Error(err)
		}
	}
	if err := s.Fetch(ctx, tasks.result(1), got); err == nil {
		t.Error("a result that was removed is there")
	}
	if files, err := os.ReadDir(got); err != nil || len(files) > 0 {
		t.Errorf("a result that could not be had left %v", files)
	}
	for i := range 3 {
		if err := s.Remove(ctx, tasks.result(i)); err != nil {
			t.Error(err)
		}
	}
}

// TestS3Endpoints checks which endpoints are taken.
func TestS3Endpoints(t *testing.T) {
	for _, c := range []struct {
		endpoint, name string
		err            error // errAny: any
	}{
		{"", "s3://bucket/prefix", nil},
		{"http://127.0.0.1:9000", "s3://bucket", nil},
		{"https://minio.example:9000/", "s3://bucket", nil},
		{"http://minio.example:9000", "s3://bucket", ErrInsecure},
		{"minio.example", "s3://bucket", errAny},
		{"https://minio.example/path", "s3://bucket", errAny},
	} {
		t.Run(c.endpoint, func(t *testing.T) {
			t.Setenv("AWS_ENDPOINT_URL", c.endpoint)
			t.Setenv("AWS_ENDPOINT_URL_S3", "")
			_, err := openS3(c.name)
			if errors.Is(c.err, errAny) && err != nil {
				return
			}
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
		})
	}
}

var errAny = errors.New("any")
