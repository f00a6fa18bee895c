// An identity provider for the tests: oidc-provider over TLS on loopback, with one person who says yes to everything.
// node provider.mjs MODULES CERTIFICATE KEY; prints its port. POST /approve?user_code= is the person at a device.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const [modules, cert, key] = process.argv.slice(2);
const { default: Provider } = await import(`${modules}/oidc-provider/lib/index.js`);

const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) });
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const { port } = server.address();

const SCOPE = 'openid offline_access';
const provider = new Provider(`https://localhost:${port}`, {
  clients: [
    {
      client_id: 'device',
      token_endpoint_auth_method: 'none',
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      response_types: [],
      redirect_uris: [],
      application_type: 'native',
    },
    {
      client_id: 'browser',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/'],
      application_type: 'native',
    },
    {
      client_id: 'robot',
      client_secret: 'the-secret-of-the-robot',
      token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    },
  ],
  features: {
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  cookies: { keys: ['a key of the tests'] },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  jwks: undefined,
});

async function grant(clientId) {
  const given = new provider.Grant({ accountId: 'you', clientId });
  given.addOIDCScope(SCOPE);
  return given.save();
}

async function approve(url) {
  const typed = url.searchParams.get('user_code').toUpperCase().replace(/\W/g, '');
  const code = await provider.DeviceCode.findByUserCode(typed);
  if (!code) return 404;
  Object.assign(code, {
    accountId: 'you',
    grantId: await grant(code.clientId),
    authTime: Math.floor(Date.now() / 1000),
    scope: SCOPE,
  });
  await code.save();
  return 204;
}

async function interact(request, response) {
  const { prompt, params } = await provider.interactionDetails(request, response);
  const result = prompt.name === 'login'
    ? { login: { accountId: 'you' } }
    : { consent: { grantId: await grant(params.client_id) } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

const callback = provider.callback();
server.on('request', (request, response) => {
  const url = new URL(request.url, `https://localhost:${port}`);
  if (url.pathname === '/approve') {
    approve(url).then((status) => response.writeHead(status).end());
  } else if (url.pathname.startsWith('/interaction/')) {
    interact(request, response).catch((error) => response.writeHead(500).end(String(error)));
  } else {
    callback(request, response);
  }
});
console.log(port);
