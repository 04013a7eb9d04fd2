-- For wrk: posts the file that is named after `--`, with the headers that follow it, each as `Name: value`, and prints what
-- it has seen in a line for programs.

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  for i = 2, #args do
    local name, value = args[i]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
  file:close()
end

function done(summary, latency, requests)
  local errors = summary.errors
  local figures = {
    summary.duration, summary.requests, summary.bytes,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
  }
  print("figures " .. table.concat(figures, " "))
end
