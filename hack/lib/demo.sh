# Two people to try it with, made through the HTTP API like anybody else (sourced).

WEB=http://127.0.0.1:$WEB_PORT

# call METHOD PATH [CURL-ARGUMENT...]: body from stdin; prints the status, leaves the answer in $demo/answer.
call() {
	local method=$1 path=$2
	shift 2
	curl -sS -m 20 -o "$demo/answer" -w '%{http_code}' -X "$method" "$WEB$path" -H 'Content-Type: application/json' \
		-H 'Sec-Fetch-Site: same-origin' -H 'Prefer: wait=10' --data @- "$@" || echo 000
}

# accepted WHAT STATUSES METHOD PATH...: repeats a call (body: $body) until one of STATUSES; workers may just be starting.
accepted() {
	local what=$1 statuses=$2 limit=$((SECONDS + 240)) status
	shift 2
	until status=$(call "$@" <<<"$body") && [[ " $statuses " == *" $status "* ]]; do
		[ $SECONDS -lt $limit ] || die "$what was answered $status: $(head -c 300 "$demo/answer")"
		sleep 1
	done
}

demo_users() {
	local demo=$STATE/demo body name
	[ ! -f "$demo/done" ] || return 0
	(umask 077 && mkdir -p "$demo")
	for name in alice bob; do
		secret "$demo/$name.password"
		body="{\"userId\":\"$name\",\"password\":\"$(cat "$demo/$name.password")\",\"email\":\"$name@example.com\",\"userName\":\"${name^}\"}"
		accepted "the sign-up of $name" "200 409" POST /api/users
	done
	body="{\"userId\":\"alice\",\"password\":\"$(cat "$demo/alice.password")\"}"
	accepted "the login of alice" 200 POST /api/session -c "$demo/cookies"
	body='{"friendId":["bob"]}'
	accepted "the friendship of alice and bob" 200 POST /api/friends -b "$demo/cookies"
	rm -f "$demo/cookies" "$demo/answer"
	touch "$demo/done"
}

farewell() {
	cat <<-T

		Parley runs: $WEB
		  alice, password $(cat "$STATE/demo/alice.password")
		  bob,   password $(cat "$STATE/demo/bob.password")     (in a second browser or a private window)

		What to try next
		  export KUBECONFIG=$STATE/kubeconfig PATH=$BIN:\$PATH
		  kubectl -n parley get cts                                       # the topic set
		  kubectl -n parley get pods -w                                   # and, in another terminal, give chat four partitions:
		  kubectl -n parley get cts chat -o json | jq '(.spec.topics[] | select(.name == "user-add-chat-request")).partitions = 4' | kubectl replace -f -
		  kubectl -n parley logs deploy/parley-controller

		Stop and remove all of it: make down
	T
}
