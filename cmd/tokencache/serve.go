package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/serve"
)

type serveCmd struct {
	Config     kong.ConfigFlag `help:"TOML file with these flags by their names, such as addr = \"127.0.0.1:8080\". Flags and environment variables come first." placeholder:"FILE"`
	Model      []string        `short:"m" env:"TOKENCACHE_MODEL" help:"Model to serve besides the bundled ones: the path of a checkpoint, a folder or a diffusers pipeline, perhaps PATH=VAE with its autoencoder. A bundled model's name puts it first. The first is the default. May be repeated." placeholder:"PATH|NAME" sep:","`
	Addr       string          `env:"TOKENCACHE_ADDR" help:"Address to listen on. Any but a loopback address needs --keys or --insecure." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	Insecure   bool            `env:"TOKENCACHE_INSECURE" help:"Let anybody who reaches the address use the API."`
	Keys       string          `env:"TOKENCACHE_KEYS" help:"File of those who may use the API: a line for each, as --new-key prints it." placeholder:"FILE"`
	NewKey     string          `name:"new-key" help:"Print a new key, and the line for --keys that lets it in; then end." placeholder:"NAME"`
	TLSCert    string          `name:"tls-cert" env:"TOKENCACHE_TLS_CERT" help:"File of the certificate, for TLS. It is read again when it changes." placeholder:"FILE"`
	TLSKey     string          `name:"tls-key" env:"TOKENCACHE_TLS_KEY" help:"File of the certificate's key." placeholder:"FILE"`
	Origin     string          `env:"TOKENCACHE_ORIGIN" help:"Let pages of this origin call the API from a browser (CORS)." placeholder:"URL"`
	Threads    int             `env:"TOKENCACHE_THREADS" help:"Worker threads. Default: all processors." placeholder:"N"`
	Memory     int             `env:"TOKENCACHE_MEMORY" help:"Max megabytes of the weights of open models." default:"8192" placeholder:"MB"`
	Queue      time.Duration   `env:"TOKENCACHE_QUEUE" help:"Refuse requests that would wait for others longer than this." default:"20s" placeholder:"TIME"`
	Adaptive   string          `env:"TOKENCACHE_ADAPTIVE" help:"Rather than refuse a request that names no policy, serve it by one that keeps a PSNR to the uncached image, such as 40dB." placeholder:"DB"`
	State      string          `env:"TOKENCACHE_STATE" help:"Folder in which jobs are kept, to be resumed when the server starts again." placeholder:"DIR"`
	Keep       time.Duration   `env:"TOKENCACHE_KEEP" help:"How long images behind URLs and finished jobs are kept." default:"1h" placeholder:"TIME"`
	KeepMemory int             `name:"keep-memory" env:"TOKENCACHE_KEEP_MEMORY" help:"Max megabytes of them." default:"256" placeholder:"MB"`
	Drain      time.Duration   `env:"TOKENCACHE_DRAIN" help:"How long what runs may take to finish after SIGTERM. A second signal ends at once." default:"30s" placeholder:"TIME"`
	Debug      string          `name:"debug-addr" env:"TOKENCACHE_DEBUG_ADDR" help:"Loopback address of pprof. Default: none." placeholder:"HOST:PORT"`
	LogLevel   slog.Level      `name:"log-level" env:"TOKENCACHE_LOG_LEVEL" help:"debug, info, warn or error." default:"info"`
	LogPrompts bool            `name:"log-prompts" env:"TOKENCACHE_LOG_PROMPTS" help:"Log prompts too."`

	brokerFlags
}

func (c *serveCmd) Help() string {
	return `Examples:
  tokencache serve
  tokencache serve --model DiT-XL-2-256 --addr :8443 --keys keys.txt --tls-cert cert.pem --tls-key key.pem
  tokencache serve --nats nats://127.0.0.1:4222
  curl http://127.0.0.1:8080/v1/images/generations -H 'Content-Type: application/json' -d '{"prompt": "a red heart", "seed": 1}'

It speaks the images API of OpenAI, whose clients take http://127.0.0.1:8080/v1 as their base URL. The same address has a page for people. docs/serving.md has the rest.`
}

func (c *serveCmd) Run(a *app) error {
	if c.NewKey != "" {
		key, line, err := serve.NewKey(c.NewKey)
		if err != nil {
			return fmt.Errorf("--new-key: %w", err)
		}
		fmt.Fprintln(a.stdout, line)
		a.note("the key, which is kept nowhere else: %s", key)
		return nil
	}
	o, err := c.options(a)
	if err != nil {
		return err
	}
	viewer, err := c.viewer()
	if err != nil {
		return err
	}
	if viewer != nil {
		defer viewer.Close()
		o.Broker = brokerView(viewer)
	}
	s, err := serve.New(o)
	if err != nil {
		return err
	}
	return s.Listen(a.ctx, serve.ListenOptions{
		Addr:     c.Addr,
		Cert:     c.TLSCert,
		Key:      c.TLSKey,
		Debug:    c.Debug,
		Drain:    c.Drain,
		OnListen: func(url string) { a.note("serving %s", url) },
	})
}

// options returns what the flags say.
func (c *serveCmd) options(a *app) (o serve.Options, err error) {
	local := serve.Loopback(c.Addr)
	switch {
	case !local && c.Keys == "" && !c.Insecure:
		return o, fmt.Errorf("--addr %s can be reached by others: give --keys, or --insecure to let anybody in", c.Addr)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return o, errors.New("give --tls-cert and --tls-key, or neither")
	case c.Memory < 1 || c.KeepMemory < 1 || c.Queue <= 0 || c.Keep <= 0 || c.Drain < 0:
		return o, errors.New("--memory, --keep-memory, --queue and --keep: want more than 0 each")
	}
	for _, model := range c.Model {
		path, vae, hasVAE := strings.Cut(model, "=")
		if err := models.Find(path); err != nil {
			return o, fmt.Errorf("--model: %w", err)
		}
		if _, err := os.Stat(vae); hasVAE && err != nil {
			return o, fmt.Errorf("--model: autoencoder %w", err)
		}
	}
	o = serve.Options{
		Models:     serve.Models(c.Model),
		Threads:    c.Threads,
		Memory:     int64(c.Memory) << 20,
		Queue:      c.Queue,
		LocalOnly:  local && c.Keys == "",
		Origin:     c.Origin,
		State:      c.State,
		KeepFor:    c.Keep,
		KeepBytes:  int64(c.KeepMemory) << 20,
		Logger:     slog.New(slog.NewJSONHandler(a.stderr, &slog.HandlerOptions{Level: c.LogLevel})),
		LogPrompts: c.LogPrompts,
	}
	if c.Adaptive != "" {
		o.Adaptive, err = strconv.ParseFloat(strings.TrimSuffix(c.Adaptive, "dB"), 64)
		if err != nil || !(o.Adaptive > 0 && o.Adaptive < 1000) {
			return o, fmt.Errorf("--adaptive %s: want a PSNR such as 40dB", c.Adaptive)
		}
	}
	if c.Keys != "" {
		o.Keys, err = serve.OpenKeys(c.Keys)
	}
	return o, err
}

// loadConfig reads a TOML file with flags by their names, for kong. Environment variables come first.
func loadConfig(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{}
	if _, err := toml.NewDecoder(r).Decode(&values); err != nil {
		return nil, err
	}
	known := map[string]bool{}
	var resolve kong.ResolverFunc = func(k *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, f := range k.Flags() {
			known[f.Name] = true
		}
		for name := range values {
			if !known[name] {
				return nil, fmt.Errorf("the configuration has %q, which is no flag", name)
			}
		}
		for _, name := range flag.Envs {
			if _, ok := os.LookupEnv(name); ok {
				return nil, nil
			}
		}
		return values[flag.Name], nil
	}
	return resolve, nil
}
