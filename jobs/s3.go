package jobs

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tokencache/tokencache/internal/atomicfile"
)

// s3Scheme begins the names of stores in a bucket: s3://BUCKET/PREFIX.
const s3Scheme = "s3://"

// s3Store is a bucket of S3-compatible storage, or what is below a prefix in one.
type s3Store struct {
	client         *minio.Client
	bucket, prefix string
}

// openS3 opens the store of a name. As AWS's own tools it takes the credentials from the
// environment, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or else from the file that
// AWS_SHARED_CREDENTIALS_FILE names or from the machine's role, the region from AWS_REGION, and
// another service than AWS from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL. Beyond this machine that
// must be https.
func openS3(name string) (*s3Store, error) {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(name, s3Scheme), "/")
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	address := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), "https://s3.amazonaws.com")
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("store %s: endpoint %q: want https://HOST[:PORT]", name, address)
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("store %s: endpoint %s: %w", name, u.Redacted(), ErrInsecure)
	}
	s := &s3Store{bucket: bucket, prefix: prefix}
	s.client, err = minio.New(u.Host, &minio.Options{
		Secure: u.Scheme == "https",
		Region: cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{},
			&credentials.FileAWSCredentials{},
			&credentials.IAM{Client: &http.Client{Timeout: patience}},
		}),
		MaxRetries: 3,
	})
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", name, err)
	}
	return s, nil
}

func (s *s3Store) fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %s%s/%s: %w", s3Scheme, s.bucket, s.prefix, err)
}

func (s *s3Store) Names(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // else the listing waits for who reads it
	names := map[string]bool{}
	for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix}) {
		if o.Err != nil {
			return nil, s.fail(o.Err)
		}
		if name := strings.TrimPrefix(o.Key, s.prefix); isResult(name) {
			names[name] = true
		}
	}
	return names, nil
}

func (s *s3Store) Has(ctx context.Context, name string) (bool, error) {
	_, err := s.client.StatObject(ctx, s.bucket, s.prefix+name, minio.StatObjectOptions{})
	if minio.ToErrorResponse(err).StatusCode == http.StatusNotFound {
		return false, nil
	}
	return err == nil, s.fail(err)
}

func (s *s3Store) Put(ctx context.Context, path string) error {
	_, err := s.client.FPutObject(ctx, s.bucket, s.prefix+filepath.Base(path), path, minio.PutObjectOptions{})
	return s.fail(err)
}

func (s *s3Store) Fetch(ctx context.Context, name, dir string) error {
	if strings.ContainsAny(name, `/\`) {
		return fmt.Errorf("result %q: want the name of a file", name)
	}
	o, err := s.client.GetObject(ctx, s.bucket, s.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return s.fail(err)
	}
	defer o.Close()
	return s.fail(atomicfile.Write(filepath.Join(dir, name), func(w io.Writer) error {
		_, err := io.Copy(w, o)
		return err
	}))
}

func (s *s3Store) Remove(ctx context.Context, name string) error {
	return s.fail(s.client.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{}))
}
