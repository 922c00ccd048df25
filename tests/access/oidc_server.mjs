// A certified OpenID Connect provider (the npm package oidc-provider) with two people, for the tests beside it.
// node oidc_server.mjs PORT REDIRECT_URI SECRET
import Provider from 'oidc-provider';

const [port, redirectUri, secret] = process.argv.slice(2);
const groups = { ann: ['ml-approvers', 'everybody'], bob: [], 'Eve Ünfit': ['everybody'] };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'lineclear',
    client_secret: secret,
    redirect_uris: [redirectUri],
    response_types: ['code'],
    grant_types: ['authorization_code'],
  }],
  pkce: { required: () => true },
  scopes: ['openid', 'profile', 'email'],
  claims: { openid: ['sub', 'groups'], profile: ['preferred_username', 'name'] },
  conformIdTokenClaims: false,
  findAccount: async (_context, id) => ({
    accountId: id,
    claims: async () => ({ sub: `sub-of-${id.length}-${id}`, preferred_username: id, name: id, groups: groups[id] ?? [] }),
  }),
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
